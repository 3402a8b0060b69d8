"""The published holes of Ollama that somebody with access to it could use, by the version that closed each."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_VERSION = re.compile(r"v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:-([0-9A-Za-z.-]+))?(?:\+.*)?")

Version = tuple[int, int, int, bool]
"""The last part is False for a version that comes before the one of that number, as release candidates do."""


@dataclass(frozen=True, slots=True)
class Hole:
    """One that has a number."""

    cve: str
    allows: str
    """What somebody can do who reaches it."""
    closed_in: str | None
    """None: no version is known that closes it."""


HOLES = (
    Hole("CVE-2024-28224", "a web page talks to Ollama by DNS rebinding", "0.1.29"),
    Hole("CVE-2024-37032", "a digest in a pulled manifest names a file to write, and so runs code", "0.1.34"),
    Hole("CVE-2024-39722", "/api/push tells which files exist", "0.1.46"),
    Hole("CVE-2024-45436", "an archive writes outside of its folder", "0.1.47"),
    Hole("CVE-2026-7482", "/api/create reads memory of others' calls into a model", "0.17.1"),
    Hole("CVE-2025-51471", "a registry that is pulled from is sent a token of another", None),
    Hole("CVE-2026-5530", "/api/pull asks addresses inside the network", None),
)


def version_of(text: str) -> Version | None:
    """None where it is no version, or that of a build which has none."""
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    found = (int(match[1]), int(match[2]), int(match[3]), match[4] is None)
    return None if found[:3] == (0, 0, 0) else found


def open_in(version: Version) -> Iterator[Hole]:
    """Those that a later version closed."""
    for hole in HOLES:
        closed = version_of(hole.closed_in) if hole.closed_in else None
        if closed is not None and version < closed:
            yield hole


def never_closed() -> Iterator[Hole]:
    """Those of which no version is known that closes them."""
    return (hole for hole in HOLES if hole.closed_in is None)
