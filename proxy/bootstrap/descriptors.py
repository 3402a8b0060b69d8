"""How many files the process may have open, and so how many connections it can hold."""

import resource
from typing import Final

from proxy.errors import Misconfigured

MOST: Final = 10_000
"""Connections where nobody has said how many; each costs memory too."""
RESERVED: Final = 64
"""Descriptors for the database, the journal, logs, Redis and what else the gate holds open."""
ENOUGH: Final = 65_536
"""Descriptors to ask for where there is no hard limit."""


def raised() -> int:
    """The soft limit, once it is as high as this process may raise it by itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, ENOUGH) if hard == resource.RLIM_INFINITY else hard
    if soft not in (wanted, resource.RLIM_INFINITY):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):  # A kernel may have a limit of its own below the one that it tells.
            return soft
        return wanted
    return ENOUGH if soft == resource.RLIM_INFINITY else soft


def held(told: int | None, descriptors: int) -> int:
    """How many connections are held. Raises Misconfigured where there are not descriptors enough for them.

    A connection with a call on it needs two, its own and one to the backend.
    """
    connections = min(MOST, descriptors // 3) if told is None else told
    needed = 2 * connections + RESERVED
    if needed > descriptors:
        raise Misconfigured(
            f"{connections} connections need {needed} open files, and this process may have {descriptors}: "
            "raise the limit (ulimit -Hn, LimitNOFILE= in a systemd unit), or say fewer connections under [door]."
        )
    return connections
