"""How is all that the gate keeps brought elsewhere, and back?

``archive`` is the file, ``copying`` what is put into it and taken out of it. The database is behind a protocol.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

Value = str | int | float | bool | bytes | None
Row = Mapping[str, Value]

PepperIn = Literal["backup", "settings", "nowhere"]
"""Where the pepper is, without which the digests of keys are worth nothing; nowhere: none was ever made."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a backup holds."""

    revision: str
    """Of the schema that the database had."""
    rows: Mapping[str, int]
    """How many, by table."""
    pepper: PepperIn


class Snapshot(Protocol):
    """What a database held at one moment. Every method raises StorageFailed."""

    @property
    def revision(self) -> str | None:
        """Of its schema; None where it has none."""

    @property
    def tables(self) -> Sequence[str]:
        """The names of those that are there."""

    def rows(self, table: str) -> AsyncIterator[Sequence[Row]]:
        """Every row, in pages."""

    async def last_number(self, table: str) -> int | None:
        """The last that was given to a row of it, even if that is gone; None where rows get no numbers."""


class Refill(Protocol):
    """A database that is being filled, in one transaction. Every method raises StorageFailed."""

    async def occupied(self) -> str | None:
        """The name of a table in which there is something; None where all are empty."""

    async def begin(self, revision: str) -> Sequence[str]:
        """Make the tables as they were at that revision; their names."""

    async def add(self, table: str, rows: Sequence[Row]) -> None:
        """Raises ValueError where these are no rows of this table."""

    async def finish(self, last_numbers: Mapping[str, int]) -> None:
        """Bring it all to the newest schema, and go on from these numbers."""


class Database(Protocol):
    """A database that is copied as a whole."""

    @property
    def tables(self) -> Sequence[str]:
        """The names of all that there may be."""

    def knows(self, revision: str) -> bool:
        """Whether this version of the gate can do with that schema."""

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """As it is now, whoever writes meanwhile. Raises StorageFailed."""

    def refill(self) -> AbstractAsyncContextManager[Refill]:
        """Changed only if the block comes to its end. Raises StorageFailed."""
