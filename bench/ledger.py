"""What a line costs the call that waits for it, and the process that brings it to the book: by where the book is.

Line, journal, bookkeeper and book are put together as in a gate and asked from the loop of this process. A call tells
its line what a served one does, and does nothing else.
"""

import asyncio
import gc
import itertools
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.limits import ALLOWED, caller
from proxy.bootstrap.limiting import covers
from proxy.bootstrap.storage import records
from proxy.config.settings import Settings
from proxy.ledger import Book, Wanted
from proxy.ledger.bookkeeping import Bookkeeper
from proxy.ledger.journal import Journal, remove
from proxy.ledger.keeper import JournalKeeper
from proxy.ledger.line import Keeper, Ledger
from proxy.ledger.prices import Prices
from proxy.ledger.steps import Step, Told
from proxy.policy import endpoints
from proxy.vocabulary import Ask, Call, Caller, Later, Usage

NO_LEDGER, JOURNAL_ALONE, IN_SQLITE, IN_POSTGRES = "no ledger", "journal", "SQLite", "PostgreSQL"
AT_ONCE = (1, 32, 256)
"""Callers, each of whom calls again as soon as it can."""
PACED = 100
"""Calls in a second, where they come as they like."""
_USERS = 32
_MOST_BYTES = 2**30

_ENDPOINT, _ = endpoints.find("POST", "/v1/chat/completions")
_ASK = Ask(_ENDPOINT, "bench:latest", prompt_floor=100)
_prices = Prices(covers)
_numbers = itertools.count()
_USAGE = Usage(120, 100, load_seconds=0.0, prompt_seconds=0.1, completion_seconds=0.8)


class WrongBook(Exception):
    """It does not have the calls that were made: what it took to keep them means nothing."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Has heard the whole answer."""

    usage: Usage


class Nowhere:
    """A ``Keeper`` that keeps nothing."""

    full = False

    def note(self, step: Step) -> None: ...

    def keep(self, step: Step) -> None: ...


class Timed:
    """A ``Keeper`` that notes how long each call waited for another one, all its steps together."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.waits: defaultdict[str, float] = defaultdict(float)

    @property
    def full(self) -> bool:
        return self._keeper.full

    def note(self, step: Step) -> None:
        self._keeper.note(step)

    def keep(self, step: Step) -> Later | None:
        began = time.perf_counter()
        later = self._keeper.keep(step)
        if later is not None:
            return self._timed(step, began, later)
        self.waits[_call_of(step)] += time.perf_counter() - began
        return None

    async def _timed(self, step: Step, began: float, later: Later) -> None:
        await later
        self.waits[_call_of(step)] += time.perf_counter() - began


def _call_of(step: Step) -> str:
    return step.entry.id if isinstance(step, Told) else step.id


@dataclass(slots=True)
class Place:
    """Where lines are kept: nowhere, in a journal, or from there in a book."""

    folder: Path | None = None
    book: Book | None = None
    calls: int = 0
    """That were made so far."""


@dataclass(frozen=True, slots=True)
class Spending:
    cpu: float
    """Seconds of this process for a call, until its row is in the book."""
    seconds_of_a_row: float
    """From the first call until the last row is in the book, by all rows."""
    waits: list[float]
    """Seconds that each call waited until the ledger knew what it had to know."""


@asynccontextmanager
async def places(folder: Path, postgres: str | None) -> AsyncIterator[dict[str, Place]]:
    """All that there are, PostgreSQL at its URL. Leaving them compares the books with the calls; raises WrongBook."""
    books: Mapping[str, Mapping[str, str]] = {
        IN_SQLITE: {},
        **({IN_POSTGRES: {"database_url": postgres}} if postgres else {}),
    }
    async with AsyncExitStack() as stack:
        found = {NO_LEDGER: Place(), JOURNAL_ALONE: Place(folder / JOURNAL_ALONE)}
        for name, told in books.items():
            settings = Settings.model_validate({"state_dir": str(folder / name), **told})
            kept = await stack.enter_async_context(records(settings))
            found[name] = Place(folder / name / "journals", kept.book)
        gc.collect()
        gc.freeze()  # Else one of the measurements pays for a look at all that is there.
        yield found
        for name, place in found.items():
            there = sum(one.calls for one in await place.book.sums(Wanted())) if place.book else place.calls
            if there != place.calls:
                raise WrongBook(f"{name}: the book has {there} of {place.calls} calls")


async def at_once(place: Place, clients: int, calls: int) -> Spending:
    """What so many calls cost, by so many callers."""

    async def run(ledger: Ledger) -> None:
        waiting = iter(range(calls))

        async def client(who: Caller) -> None:
            for _ in waiting:
                await _call(ledger, who)

        await _all(client(who) for who in itertools.islice(_callers(), min(clients, calls)))

    return await _spending(place, calls, run)


async def paced(place: Place, calls: int) -> Spending:
    """What so many calls cost, ``PACED`` in a second."""

    async def run(ledger: Ledger) -> None:
        began, callers = time.perf_counter(), _callers()

        async def later(number: int) -> None:
            await asyncio.sleep(began + number / PACED - time.perf_counter())
            await _call(ledger, next(callers))

        await _all(map(later, range(calls)))

    return await _spending(place, calls, run)


async def _spending(place: Place, calls: int, run: Callable[[Ledger], Coroutine[None, None, None]]) -> Spending:
    async with _kept(place) as timed:
        ledger = Ledger(timed, (), time.monotonic, costs=_prices.of)
        began, cpu = time.perf_counter(), time.process_time()
        await run(ledger)
        await ledger.settled()
    # Leaving it has brought everything to the book.
    place.calls += calls
    cpu, seconds = time.process_time() - cpu, time.perf_counter() - began
    spent = Spending(cpu / calls, seconds / calls, list(timed.waits.values()))
    if len(spent.waits) != calls:
        raise WrongBook(f"{len(spent.waits)} of {calls} calls waited for the ledger")
    return spent


@asynccontextmanager
async def _kept(place: Place) -> AsyncIterator[Timed]:
    if place.folder is None:
        yield Timed(Nowhere())
        return
    journal = Journal(place.folder / secrets.token_hex(8), most_bytes=_MOST_BYTES)
    journal.begin()
    keeper = Bookkeeper(place.book, journal) if place.book else None
    keeping = asyncio.create_task(keeper.run()) if keeper else None
    try:
        yield Timed(JournalKeeper(journal))
    finally:
        await journal.end()
        if keeper and keeping:
            keeper.close()
            await keeping
        remove(journal.folder)
        journal.close()
    if journal.lost or (keeper and not keeper.done):
        raise WrongBook("not every line has come through the journal")


async def _call(ledger: Ledger, who: Caller) -> None:
    call = Call(f"0123456789ab-{next(_numbers)}", datetime.now(UTC), "POST", _ENDPOINT.path, peer="127.0.0.1")
    async with ledger.line(call) as line:
        line.endpoint = _ENDPOINT
        line.begun_by(who)
        line.bytes_in = 700
        line.ask = _ASK
        async with line.asking():
            line.meter = Meter(_USAGE)
            if (later := line.tells_all(200, 500)) is not None:
                await later
            line.began(200)
            line.sends(500)
            line.told_all = True


def _callers() -> Iterator[Caller]:
    return itertools.cycle([caller(number, len(ALLOWED)) for number in range(_USERS)])


async def _all(coroutines: Iterable[Coroutine[None, None, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for coroutine in coroutines:
            group.create_task(coroutine)
