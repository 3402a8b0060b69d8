"""Who runs a command, and from where: what every line of the audit trail begins with. Nothing here does I/O.

It says whom to ask, and proves nothing: whoever may run the commands may change the database as well.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

LONGEST = 128
"""Characters of a name or of one part of an origin."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody at the desk."""

    name: str
    origin: str
    """From where, most important first: ``gatehouse, pts/3, from 192.0.2.7``."""


def here(environment: Mapping[str, str], *, login: str, host: str, terminal: str | None = None) -> Actor:
    """``login`` is the name of the process's own user, ``terminal`` the path of what stands at its standard input.

    Whoever came by sudo is told by their own name, and the user that they became in the origin. SSH tells the client's
    address as the first word of ``SSH_CONNECTION``, see ssh(1).
    """
    own = _line(login) or "unknown"
    before = _line(environment.get("SUDO_USER", ""))
    parts = [
        _line(host) or "unknown",
        _line((terminal or "").removeprefix("/dev/")),
        _from(environment.get("SSH_CONNECTION", "")),
        f"as {own}" if before not in ("", own) else "",
    ]
    return Actor(before or own, ", ".join(filter(None, parts)))


def _from(connection: str) -> str:
    """Nothing where it is no address: anybody may have set the variable."""
    try:
        return f"from {ipaddress.ip_address(connection.partition(' ')[0])}"
    except ValueError:
        return ""


def _line(text: str) -> str:
    """Whatever could steer a terminal is left out."""
    return "".join(letter for letter in text if letter.isprintable()).strip()[:LONGEST]
