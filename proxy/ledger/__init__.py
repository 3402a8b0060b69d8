"""What did it cost, and how did it end?

Every call opens a line and closes it with one frozen ``Entry``. Whoever wants to know is a ``Listener`` of entries;
the ``Book`` is where they are kept. ``line`` opens and closes, ``writer`` brings entries to the book in groups, ``sql``
is the book in a database, ``facts`` an entry in flat words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from proxy.vocabulary import Entry, Level

GROUPS = ("user", "team", "key", "model", "day", "endpoint")
"""What usage can be summed by."""


@dataclass(frozen=True, slots=True)
class Sum:
    """What a group of calls cost together."""

    group: str
    """The user, the model, the UTC day as ``YYYY-MM-DD``, …; empty where the calls had none."""
    calls: int
    refused: int
    """How many of the calls were refused."""
    floors: int
    """How many of the calls have a floor for a count, so that the tokens are at least what is told here."""
    prompt_tokens: int
    completion_tokens: int
    busy_seconds: float
    """The sum of the calls' total times."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What calls together took of what is limited."""

    tokens: int
    gpu_seconds: float


class Listener(Protocol):
    """Is told of every entry, at once and in order. Must be quick and must not raise."""

    def recorded(self, entry: Entry) -> None: ...


class Book(Protocol):
    """Where entries are kept."""

    async def write(self, entries: Sequence[Entry]) -> None:
        """Keep all of them or none; an entry that is already there, by its id, is left as it is."""

    async def last(self, count: int, *, user: str | None = None) -> list[Entry]:
        """The newest entries, oldest of them first."""

    async def since(self, mark: int, *, user: str | None = None) -> tuple[list[Entry], int]:
        """Entries written after a mark, in order of writing, and the mark to go on from; ``await mark()`` to begin."""

    async def mark(self) -> int:
        """The mark of the newest entry, 0 where there is none."""

    async def sums(self, by: str, since: datetime | None = None) -> list[Sum]:
        """One sum per group, ``by`` one of ``GROUPS``; the most tokens first, days in order."""

    async def spent(
        self, level: Level, subject: str, since: datetime, *, team: str | None = None
    ) -> Mapping[str | None, Spent]:
        """What calls from then on took, by the name of their model; None: of those that named none.

        The subject is a key's id, a user or a team; empty for everybody, which counts those without a key too. Of a
        user's calls those count that were made in this team, or in none.
        """
