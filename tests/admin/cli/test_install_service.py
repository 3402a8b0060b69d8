import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.admin import service
from tests.admin.cli.conftest import Type
from tests.fakes.tools import FakeTools

UNIT, USER, CONFIG = (str(path).lstrip("/") for path in (service.UNIT, service.USER, service.CONFIG))


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """As the command itself has it: what it writes has to be readable all the same."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_all_that_systemd_needs_is_written_and_the_next_steps_are_told(type_in: Type, tmp_path: Path) -> None:
    done = type_in("install-service", "--root", str(tmp_path))

    assert 0 == done.exit_code, done.stderr
    assert "systemctl enable --now llamagate" in done.stdout
    assert "keys create --user alice --config /etc/llamagate/llamagate.toml" in done.stdout
    assert {UNIT, USER, CONFIG} == {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {0o644} == {(tmp_path / name).stat().st_mode & 0o777 for name in (UNIT, USER, CONFIG)}
    assert 0o755 == (tmp_path / CONFIG).parent.stat().st_mode & 0o777
    assert str(service.STATE) == tomllib.loads((tmp_path / CONFIG).read_text())["state_dir"]
    assert "TimeoutStopSec=35\n" in (tmp_path / UNIT).read_text()


def test_the_unit_follows_the_configuration_that_is_there(type_in: Type, tools: FakeTools, tmp_path: Path) -> None:
    (tmp_path / CONFIG).parent.mkdir(parents=True)
    (tmp_path / CONFIG).write_text("")
    tools.text = 'listen = "0.0.0.0:443"\ndrain_timeout = "2m"\nstate_dir = "/srv/gate"'
    done = type_in("install-service", "--root", str(tmp_path))
    unit = (tmp_path / UNIT).read_text()

    assert 0 == done.exit_code, done.stderr
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in unit
    assert "TimeoutStopSec=125\n" in unit
    assert "ReadWritePaths=/srv/gate\n" in unit
    assert "" == (tmp_path / CONFIG).read_text()


def test_another_configuration_can_be_named(type_in: Type, tmp_path: Path) -> None:
    done = type_in("install-service", "--root", str(tmp_path), "--config", "/etc/gates/one.toml")

    assert 0 == done.exit_code, done.stderr
    assert "Environment=LLAMAGATE_CONFIG=/etc/gates/one.toml " in (tmp_path / UNIT).read_text()
    assert (tmp_path / "etc/gates/one.toml").is_file()


def test_printed_it_is_the_same_and_nothing_is_written(type_in: Type, tmp_path: Path) -> None:
    printed = type_in("install-service", "--root", str(tmp_path), "--print").stdout

    assert [] == list(tmp_path.iterdir())
    assert 0 == type_in("install-service", "--root", str(tmp_path)).exit_code
    assert (tmp_path / UNIT).read_text() == printed


def test_what_somebody_has_changed_is_replaced_only_when_told_to(type_in: Type, tmp_path: Path) -> None:
    (tmp_path / UNIT).parent.mkdir(parents=True)
    (tmp_path / UNIT).write_text("[Service]\nExecStart=/bin/mine\n")
    refused = type_in("install-service", "--root", str(tmp_path))
    untouched = (tmp_path / UNIT).read_text()
    forced = type_in("install-service", "--root", str(tmp_path), "--force")

    assert (1, "[Service]\nExecStart=/bin/mine\n") == (refused.exit_code, untouched)
    assert "--force replaces it" in refused.stderr
    assert 0 == forced.exit_code
    assert "Type=notify\n" in (tmp_path / UNIT).read_text()


def test_the_same_once_more_changes_nothing(type_in: Type, tools: FakeTools, tmp_path: Path) -> None:
    assert 0 == type_in("install-service", "--root", str(tmp_path)).exit_code
    tools.text = (tmp_path / CONFIG).read_text()

    assert 0 == type_in("install-service", "--root", str(tmp_path)).exit_code


def test_a_setting_that_only_this_shell_tells_is_refused(type_in: Type, tools: FakeTools, tmp_path: Path) -> None:
    (tmp_path / CONFIG).parent.mkdir(parents=True)
    (tmp_path / CONFIG).write_text("")
    tools.environment = {"LLAMAGATE_MAX_BODY": "1MiB"}
    done = type_in("install-service", "--root", str(tmp_path))

    assert 1 == done.exit_code
    assert "LLAMAGATE_MAX_BODY is set here" in done.stderr
    assert not (tmp_path / UNIT).exists()


def test_a_folder_that_cannot_be_written_is_told_without_a_traceback(type_in: Type, tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file where a folder should be")
    done = type_in("install-service", "--root", str(tmp_path))

    assert 1 == done.exit_code
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
