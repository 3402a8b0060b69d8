"""What did it cost, and how did it end?

Every call opens a line and closes it with one frozen ``Entry``. Whoever wants to know is a ``Listener`` of entries;
the ``Book`` is where they are kept.

``line`` opens and closes. ``journal`` is where each step of a call is on disk before anybody builds on it, ``keeper``
puts it there and ``steps`` are those steps as text; ``bookkeeping`` brings them from there to the book in groups, and
again after a crash. ``sql`` is the book in a database, ``facts`` an entry in flat words, ``prices`` what it costs in
money and power.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from proxy.errors import Died
from proxy.vocabulary import Entry, Level, Outcome, Usage

GROUPS = ("user", "team", "key", "model", "day", "hour", "endpoint", "outcome")
"""What usage can be summed by."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls shall be summed, and by what."""

    by: tuple[str, ...] = ()
    """Of ``GROUPS``, the first of them the outermost; empty: all together."""
    since: datetime | None = None
    until: datetime | None = None
    """Not part of it."""
    time_zone: str = "UTC"
    """In which days and hours begin."""
    user: str | None = None
    team: str | None = None
    key: str | None = None
    """Its id."""
    model: str | None = None
    """The name as the ledger has it."""


@dataclass(frozen=True, slots=True)
class Sum:
    """What a group of calls cost together."""

    groups: tuple[str, ...]
    """One for each that was asked for: the user, the model, the day as ``YYYY-MM-DD``, the hour as
    ``YYYY-MM-DD hh:00``, …; empty where the calls had none."""
    calls: int = 0
    refused: int = 0
    """How many of the calls were refused."""
    estimated: int = 0
    """How many of the calls have an estimate for a count, so that the tokens are at least what is told here."""
    suspicious: int = 0
    """How many of the calls have a count that had to be cut down."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    load_seconds: float = 0.0
    """What models took to be loaded, which is part of ``gpu_seconds``."""
    gpu_seconds: float = 0.0
    total_seconds: float = 0.0
    cost: float = 0.0
    elsewhere: float = 0.0
    watt_hours: float = 0.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What calls together took of what is limited."""

    tokens: int
    gpu_seconds: float


@dataclass(frozen=True, slots=True)
class Running:
    """A call that goes on, as far as it is known."""

    id: str
    at: datetime
    endpoint: str
    user: str | None = None
    team: str | None = None
    key_id: str | None = None
    plan: str | None = None
    model: str | None = None
    stream: bool = False
    peer: str = ""
    prompt_floor: int = 0
    """Tokens that it costs at the least; 0 while the backend has not been asked."""
    told: Entry | None = None
    """What becomes of it if nothing else does, as was told last."""

    @property
    def so_far(self) -> Entry:
        """What becomes of it if nothing else does: where nothing has been told, it is lost."""
        return self.told or Entry(
            id=self.id,
            at=self.at,
            endpoint=self.endpoint,
            outcome=Outcome.LOST,
            status=None,
            reason=Died.code,
            user=self.user,
            team=self.team,
            key_id=self.key_id,
            plan=self.plan,
            model=self.model,
            stream=self.stream,
            usage=Usage(prompt_tokens=self.prompt_floor, exact=False),
            peer=self.peer,
        )


class Mark(NamedTuple):
    """A place in a journal: all before it is done with."""

    segment: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """What a part of a journal amounts to, beside the entries that it ended."""

    journal: str
    """Its name, which no other journal has."""
    mark: Mark
    """Where it ends."""
    running: Sequence[Running] = ()
    """Calls that go on there and are new, or of which there is news."""


class Listener(Protocol):
    """Is told of every entry, at once and in order. Must be quick and must not raise."""

    def recorded(self, entry: Entry) -> None: ...


class Book(Protocol):
    """Where entries are kept. Every method raises StorageFailed."""

    async def write(self, entries: Sequence[Entry], part: Part | None = None) -> None:
        """Keep all of them, and add them to the sums, or none; one that is already there, by its id, is left as it is.

        With a part, its calls are running from then on, those of the entries are not any more, and its mark is kept:
        together with the entries, so that no part is ever kept twice or half.
        """

    async def begun(self, journal: str) -> tuple[Mark, list[Running]]:
        """How far a journal has come, and the calls that went on there."""

    async def last(self, count: int, *, user: str | None = None) -> list[Entry]:
        """The newest entries, oldest of them first."""

    async def since(self, mark: int, *, user: str | None = None) -> tuple[list[Entry], int]:
        """Entries written after a mark, in order of writing, and the mark to go on from; ``await mark()`` to begin."""

    async def mark(self) -> int:
        """The mark of the newest entry, 0 where there is none."""

    async def at(self, moment: datetime, *, user: str | None = None) -> tuple[list[Entry], list[Running]]:
        """What ran at that moment: calls that have ended since, and calls that still go on, each by when they began."""

    def all(self, since: datetime | None, until: datetime | None) -> AsyncIterator[Sequence[Entry]]:
        """Every entry of that time in order of writing, in pages, however many there are."""

    async def sums(self, wanted: Wanted) -> list[Sum]:
        """One sum per group, in order of their days and hours if asked for, then the most tokens first, then by name.

        Sums outlive the entries: where those of the first or last minutes of the time are gone, the whole quarter of an
        hour is counted.
        """

    async def spent(
        self, level: Level, subject: str, since: datetime, *, team: str | None = None
    ) -> Mapping[str | None, Spent]:
        """What calls from then on took, by the name of their model; None: of those that named none.

        The subject is a key's id, a user or a team; empty for everybody, which counts those without a key too. Of a
        user's calls those count that were made in this team, or in none.
        """

    async def forget(self, before: datetime, most: int) -> int:
        """Forget so many entries at the most that are older, and keep their sums. How many there were."""

    async def days_of(self, time_zone: str) -> None:
        """Sum up by the days of this zone from now on, and what is there already anew if they were another's."""
