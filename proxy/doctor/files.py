"""Who may read and change what the gate keeps and what it is told?"""

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from shlex import quote

from proxy.doctor.findings import AS_THE_GATE, Finding, critical, info, ok, warning

OTHERS_READ = 0o044
OTHERS_WRITE = 0o022
OTHERS = 0o077


class Kind(enum.StrEnum):
    """What a file is for."""

    STATE = "state directory"
    CONFIG = "configuration"
    CONFIG_WITH_SECRETS = "configuration, with secrets in it"
    PEPPER = "pepper"
    DATABASE = "database"
    HIDDEN = "secret"
    KEY = "private key"
    JOURNAL = "journal"


_WHY = {
    Kind.STATE: "Whoever may look into it finds the digests of keys and what everybody's calls cost.",
    Kind.CONFIG: "Whoever may change it makes plans, and so gives keys all rights.",
    Kind.CONFIG_WITH_SECRETS: "Whoever reads it has the passwords in it.",
    Kind.PEPPER: "With it and a copy of the database, keys can be guessed at leisure; without it, none can.",
    Kind.DATABASE: "It holds the digests of keys and what everybody's calls cost.",
    Kind.HIDDEN: "Whoever reads it has the secret.",
    Kind.KEY: "Whoever reads it can pose as the gate.",
    Kind.JOURNAL: "It holds what everybody's last calls cost.",
}
_FOLDERS = (Kind.STATE, Kind.JOURNAL)
_MAY_BE_READ = (Kind.CONFIG,)


@dataclass(frozen=True, slots=True)
class File:
    """A file or a folder."""

    path: str
    kind: Kind
    mode: int | None
    """Its permissions; None where there is none of that name."""
    failure: str | None = None
    """Why it cannot be looked at."""
    is_given: bool = False
    """The service manager or the container's engine sets its mode, and keeps others out of the folder around it."""
    is_read_only: bool = False
    """It is mounted from elsewhere so that nothing here can change it, not even its mode."""


def findings(files: Iterable[File]) -> Iterator[Finding]:
    """One for each that is wrong, and one for all that are right."""
    files, is_good = list(files), 0
    for file in files:
        found = _of(file)
        is_good += found is None and file.mode is not None
        if found is not None:
            yield found
    if is_good:
        yield ok("file.mode", f"{is_good} files and folders are nobody else's to read or to change.")


def _of(file: File) -> Finding | None:
    if file.failure is not None:
        return info(
            "file.unreadable",
            f"{file.path} ({file.kind}) cannot be looked at: {file.failure}.",
            "Whether it is safe cannot be told.",
            f"{AS_THE_GATE}, or as whoever owns {quote(file.path)}",
        )
    if file.mode is None or file.is_given:
        return None
    bad = file.mode & (OTHERS_WRITE if file.kind in _MAY_BE_READ else OTHERS)
    if not bad:
        return None
    # Who may only look into the folder finds the files in it closed, which are told of by themselves.
    say = warning if file.kind in _FOLDERS and not bad & OTHERS_WRITE else critical
    verb = "changed" if bad & OTHERS_WRITE else "read"
    mode = "go-w" if file.kind in _MAY_BE_READ else "700" if file.kind in _FOLDERS else "600"
    return say(
        "file.mode",
        f"{file.path} ({file.kind}) may be {verb} by others (mode {file.mode:04o}).",
        _WHY[file.kind],
        f"chmod {mode} {quote(file.path)}" + (", where it is mounted from" if file.is_read_only else ""),
    )
