import re
from pathlib import PurePosixPath

import pytest

from proxy.admin import service
from proxy.admin.refusals import NotDone
from proxy.admin.service import Service, hidden, unit

TEMPLATE = (service.TEMPLATES / "llamagate.service").read_text()
PROGRAM = "/opt/llamagate/bin/llamagate"


def of(**told: object) -> dict[str, list[str]]:
    """What the unit of such a service says, by the names of its settings."""
    text = unit(Service(**{"command": (PROGRAM, "serve"), **told}), TEMPLATE)  # type: ignore[arg-type]  # As told.
    assert not re.search("@[A-Z]+@", text)
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def paths(*texts: str) -> list[PurePosixPath]:
    return [PurePosixPath(text) for text in texts]


def test_a_gate_above_the_low_ports_has_no_capability_at_all() -> None:
    says = of(port=11435)

    assert ([""], [""], ["yes"]) == tuple(
        says[name] for name in ("CapabilityBoundingSet", "AmbientCapabilities", "PrivateUsers")
    )


def test_a_gate_on_a_low_port_has_the_one_capability_that_it_needs() -> None:
    says = of(port=443)

    assert ["CAP_NET_BIND_SERVICE"] == says["CapabilityBoundingSet"] == says["AmbientCapabilities"]
    assert "PrivateUsers" not in says


def test_systemd_is_more_patient_than_the_gate() -> None:
    assert ["46"] == of(drain_seconds=40.5)["TimeoutStopSec"]


def test_it_may_write_into_its_state_directory_wherever_that_is() -> None:
    assert "ReadWritePaths" not in of()
    assert "ReadWritePaths" not in of(state_dir=service.STATE / "inner")
    assert ['"/srv/kept here"'] == of(state_dir=PurePosixPath("/srv/kept here"))["ReadWritePaths"]


def test_no_home_is_to_be_seen() -> None:
    says = of(code=paths("/opt/llamagate", "/usr", "/homestead"))

    assert ["yes"] == says["ProtectHome"]
    assert "BindReadOnlyPaths" not in says


def test_a_program_in_a_home_is_seen_and_nothing_else_of_that_home() -> None:
    says = of(code=paths("/home/olga/gate/.venv", "/home/olga/gate", "/root/python", "/usr"))

    assert ["tmpfs"] == says["ProtectHome"]
    assert ["/home/olga/gate /root/python"] == says["BindReadOnlyPaths"]


def test_of_folders_within_each_other_the_outer_one_is_enough() -> None:
    assert paths("/home/a/b", "/home/c") == hidden(paths("/home/a/b/c", "/home/a/b", "/home/c", "/home/a/b", "/opt"))


def test_signs_that_mean_something_to_systemd_stand_for_themselves() -> None:
    says = of(command=("/opt/100% ours/$gate", "serve"), config=PurePosixPath('/etc/a "b" \\c.toml'))

    assert ['"/opt/100%% ours/$$gate" serve'] == says["ExecStart"]
    assert ['"LLAMAGATE_CONFIG=/etc/a \\"b\\" \\\\c.toml" PYTHONDONTWRITEBYTECODE=1'] == says["Environment"]


@pytest.mark.parametrize(
    "told", [{"command": ("/opt/a\nUser=root", "serve")}, {"code": paths("/home/a:b")}, {"state_dir": "/srv/\x1b"}]
)
def test_a_path_that_no_unit_can_hold_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(NotDone):
        of(**{name: PurePosixPath(value) if name == "state_dir" else value for name, value in told.items()})  # type: ignore[arg-type]  # As told.
