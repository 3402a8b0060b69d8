"""The gate as a service of systemd: what its files say and where they belong. Nothing in this module does I/O."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from proxy.admin.refusals import NotDone

UNIT = PurePosixPath("/etc/systemd/system/llamagate.service")
USER = PurePosixPath("/etc/sysusers.d/llamagate.conf")
CONFIG = PurePosixPath("/etc/llamagate/llamagate.toml")
STATE = PurePosixPath("/var/lib/llamagate")
"""Where ``StateDirectory=`` puts it."""
TEMPLATES = Path(__file__).parent / "units"
FIRST_FREE_PORT = 1024
"""Below it a port needs a capability, ip_unprivileged_port_start in ip(7)."""
SPARE_SECONDS = 5
"""For calls that are cut to be told so, and their lines to be written."""
_HOMES = (PurePosixPath("/home"), PurePosixPath("/root"), PurePosixPath("/run/user"))
"""What ``ProtectHome=`` hides."""
_PLACE = re.compile(r"@[A-Z]+@")


@dataclass(frozen=True, slots=True)
class Service:
    """What a unit depends on."""

    command: Sequence[str]
    """The words that start the gate, the first a path from the root."""
    config: PurePosixPath = CONFIG
    state_dir: PurePosixPath = STATE
    port: int = 11435
    drain_seconds: float = 30.0
    """How long the gate may take to stop before it cuts calls."""
    code: Sequence[PurePosixPath] = ()
    """Folders that the gate's program is in."""


def unit(service: Service, template: str) -> str:
    """The text of its unit. Raises NotDone for a path that no unit can name."""
    places = {
        "@CONFIG@": _quoted(f"LLAMAGATE_CONFIG={service.config}"),
        "@START@": " ".join(_quoted(word).replace("$", "$$") for word in service.command),
        "@STOP@": str(math.ceil(service.drain_seconds) + SPARE_SECONDS),
        "@CAPABILITIES@": _capabilities(service.port),
        "@WRITABLE@": _writable(service.state_dir),
        "@HOMES@": _homes(service.code),
    }
    lines = (_filled(line, places) for line in template.splitlines())
    return "".join(f"{line}\n" for line in lines if line is not None)


def hidden(code: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """Those of the folders that stand in somebody's home, each once and none below another."""
    homely = sorted({folder for folder in code if any(home in (folder, *folder.parents) for home in _HOMES)})
    return [folder for folder in homely if not any(other in folder.parents for other in homely)]


def _filled(line: str, places: Mapping[str, str]) -> str | None:
    """The line with what belongs into it; None where it is of nothing but that, and there is nothing."""
    filled = _PLACE.sub(lambda place: places[place[0]], line)
    return filled if filled or not line else None


def _capabilities(port: int) -> str:
    if 0 < port < FIRST_FREE_PORT:
        only = "CAP_NET_BIND_SERVICE"
        return f"CapabilityBoundingSet={only}\nAmbientCapabilities={only}"
    # A user namespace of its own leaves no capability over anything outside, and so none for such a port.
    return "CapabilityBoundingSet=\nAmbientCapabilities=\nPrivateUsers=yes"


def _writable(state_dir: PurePosixPath) -> str:
    return "" if STATE in (state_dir, *state_dir.parents) else f"ReadWritePaths={_quoted(str(state_dir))}"


def _homes(code: Sequence[PurePosixPath]) -> str:
    shown = hidden(code)
    if not shown:
        return "ProtectHome=yes"
    if any(":" in str(folder) for folder in shown):
        raise NotDone(f"{shown[0]} has a colon in it, which parts two paths in a unit: install the gate elsewhere.")
    return "ProtectHome=tmpfs\nBindReadOnlyPaths=" + " ".join(_quoted(str(folder)) for folder in shown)


def _quoted(word: str) -> str:
    """As systemd.syntax(7) reads it back, with no specifier in it."""
    if not word.isprintable():
        raise NotDone(f"{word!r} has signs in it that a unit cannot hold.")
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return plain if re.fullmatch(r"[A-Za-z0-9_./=%:+@,$-]+", plain) else f'"{plain}"'
