"""Does this machine give the gate what it needs: descriptors, and room on the disk?"""

from collections.abc import Iterator
from dataclasses import dataclass

from proxy.doctor.findings import Finding, critical, info, ok, warning

RESERVED = 64
"""Descriptors beside those of connections, as the gate reckons."""
FEW_CONNECTIONS = 500
"""Fewer are soon taken, where each caller keeps some open."""
FULL_BYTES = 64 * 2**20
"""Less room than that is none: the journal, the database and the logs share it."""
_MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Descriptors:
    """How many files a process may have open."""

    most: int | None
    """As far as the process can raise it; None where there is no bound."""
    connections: int | None = None
    """How many connections were told; None where nobody has."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The one of the state directory."""

    path: str
    free: int | None = None
    """Bytes; None where nobody could tell."""
    spool: int = 0
    """Bytes that may wait on it for the database."""
    read_only: bool = False


def descriptors(found: Descriptors) -> Iterator[Finding]:
    """A connection with a call on it needs two."""
    cure = "LimitNOFILE=65536 in the [Service] of the unit, --ulimit nofile=65536 in containers, ulimit -Hn elsewhere"
    if found.most is None:
        yield ok("machine.descriptors", "A process may have any number of files open.")
        return
    if found.connections is not None and 2 * found.connections + RESERVED > found.most:
        yield critical(
            "machine.descriptors",
            f"{found.connections} connections are wanted, and a process may have {found.most} files open.",
            f"They need {2 * found.connections + RESERVED}, so that the gate does not start.",
            f"{cure}; or fewer connections under [door]",
        )
    elif found.connections is None and found.most // 3 < FEW_CONNECTIONS:
        yield warning(
            "machine.descriptors",
            f"A process may have {found.most} files open: enough for {found.most // 3} connections.",
            "Others wait until one is closed.",
            cure,
        )
    else:
        yield ok("machine.descriptors", f"A process may have {found.most} files open.")


def disk(found: Disk) -> Iterator[Finding]:
    if found.free is None:
        yield info("machine.disk", f"How much room there is for {found.path} cannot be told.")
        return
    room = f"{found.free // _MEBIBYTE} MiB free on the disk of {found.path}"
    if found.read_only:
        yield critical(
            "machine.disk",
            f"The disk of {found.path} takes no writes.",
            "No line of the ledger can be kept, so that calls are refused.",
            "mount -o remount,rw, or another state_dir",
        )
    elif found.free < FULL_BYTES:
        yield critical(
            "machine.disk",
            f"There are {room}.",
            "No line of the ledger can be kept soon, and then calls are refused (ledger.required).",
            f"du -xh {found.path} | sort -h | tail; ledger.keep and usage_log_keep let old lines go",
        )
    elif found.free < found.spool:
        yield warning(
            "machine.disk",
            f"There are {room}, and the journal may need {found.spool // _MEBIBYTE} MiB.",
            "While the database is away the disk is full before the journal is.",
            f'Make room, or [ledger] spool = "{max(1, found.free // 2 // _MEBIBYTE)}MiB"',
        )
    else:
        yield ok("machine.disk", f"There are {room}.")
