"""Brings what journals say to the book, in groups, and again after a crash.

What the book has is always what comes of the journal up to the mark that it keeps: entries of calls that have ended,
and a row for each that goes on. So a part that is brought twice, or was cut off by a crash, changes nothing.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from proxy.errors import StorageFailed
from proxy.ledger import Book, Mark, Part, Running, journal
from proxy.ledger.journal import Journal
from proxy.ledger.steps import Done, Told, call_of, ended_as_told, read
from proxy.vocabulary import Entry

EVERY_SECONDS = 0.25
"""Between two groups: whoever looks into the book sees what happened so long ago."""
COPY_SECONDS = 5.0
"""How long a copy is waited for."""
LARGEST_GROUP = 1600
"""Lines of the journal that are brought to the book at once: some 400 calls. More would save little, and the thread
that brings them would be in the loop's way for longer at a time."""
_GOES_ON = (b"B", b"T")
CLOSED = "closed"
"""The journal of calls that nobody's journal tells of any more."""
SLOWEST_SECONDS = 5.0
"""Between two tries while the book cannot be written."""

Pause = Callable[[float], Awaitable[None]]


class Copy(Protocol):
    """Keeps entries beside the book."""

    async def keep(self, entries: Sequence[Entry]) -> None:
        """Must not raise. After a crash it may be given again what it had been given last."""


@dataclass(slots=True)
class Fold:
    """What comes of a journal, step by step. No I/O.

    Most calls begin and end within one group of lines: of those nothing is read but what they came to.
    """

    running: dict[str, Running] = field(default_factory=dict)
    torn: int = 0
    """Lines that tell nothing."""

    def take(self, lines: Sequence[bytes]) -> tuple[list[Entry], list[Running]]:
        """The entries that these lines end, and the calls that go on behind them and of which they tell something."""
        ended: list[Entry] = []
        news: dict[str, list[bytes]] = {}
        """What was said of each call that goes on."""
        for line in lines:
            call = call_of(line)
            if call is None:
                self.torn += 1
            elif line.startswith(_GOES_ON):
                said = news.get(call)
                if said is None:
                    news[call] = [line]
                else:
                    said.append(line)
            else:
                said = news.pop(call, [])
                step = self._end(call, said, line)
                if isinstance(step, Entry):
                    ended.append(step)
                elif step is None and said:
                    news[call] = said
        for said in news.values():
            self._hear(said)
        return ended, [self.running[call] for call in news if call in self.running]

    def _end(self, call: str, said: Sequence[bytes], line: bytes) -> Entry | Done | None:
        """The entry of a call which this line ends; the line's own step where nothing is known of it; None where it
        tells nothing.
        """
        if said and said[-1][:1] == b"T" and (entry := ended_as_told(said[-1], line)) is not None:
            self.running.pop(call, None)
            return entry
        match read(line):
            case Entry() as entry:
                self.running.pop(call, None)
                return entry
            case Done() as done:
                self._hear(said)
                known = self.running.pop(call, None)
                return done if known is None else _as_told(known.so_far, done)
        self.torn += 1
        return None

    def _hear(self, said: Sequence[bytes]) -> None:
        """What lines say of one call that goes on."""
        news: Entry | None = None
        for line in said:
            match read(line):
                case Running() as running:
                    self.running[running.id] = running
                case Told(entry):
                    self.running.setdefault(entry.id, _begun(entry))  # Where a crash has torn how it began.
                    news = entry
                case _:
                    self.torn += 1
        if news is not None:
            self.running[news.id] = _heard(self.running[news.id], news)

    def died(self) -> list[Entry]:
        """What becomes of the calls that went on when their process ended."""
        died = [running.so_far for running in self.running.values()]
        self.running.clear()
        return died


def _begun(told: Entry) -> Running:
    return Running(
        id=told.id,
        at=told.at,
        endpoint=told.endpoint,
        user=told.user,
        team=told.team,
        key_id=told.key_id,
        plan=told.plan,
        peer=told.peer,
    )


def _heard(running: Running, told: Entry) -> Running:
    """With what was told, which says much that is known already: both hold the same texts, for many may go on."""
    told = replace(
        told,
        id=running.id,
        at=running.at,
        endpoint=running.endpoint,
        user=running.user,
        team=running.team,
        key_id=running.key_id,
        plan=running.plan,
        peer=running.peer,
    )
    return replace(running, model=told.model, stream=told.stream, prompt_floor=told.usage.prompt_tokens, told=told)


def _as_told(told: Entry, done: Done) -> Entry:
    return replace(
        told,
        bytes_out=done.bytes_out,
        first_byte_seconds=done.first_byte_seconds,
        total_seconds=done.total_seconds,
    )


class Bookkeeper:
    """Of one journal that is being written. Start it with ``run``, end it with ``close``."""

    def __init__(
        self,
        book: Book,
        kept: Journal,
        copies: Sequence[Copy] = (),
        *,
        pause: Pause = asyncio.sleep,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._book = book
        self._journal = kept
        self._copies = copies
        self._pause = pause
        self._every_seconds = every_seconds
        self._fold = Fold()
        self._mark = self._copied = Mark()
        self._closing = asyncio.Event()
        self._rest_of_it: Sequence[bytes] = ()
        self._behind_since: float | None = None
        self._log = logging.getLogger("proxy.ledger")
        self.done = False
        """Whether everything that the journal has is in the book; told once ``run`` has ended."""

    @property
    def behind_seconds(self) -> float:
        """For how long the book has not taken anything."""
        return 0.0 if self._behind_since is None else time.monotonic() - self._behind_since

    @property
    def torn(self) -> int:
        return self._fold.torn

    def close(self, rest: Sequence[bytes] = ()) -> None:
        """Bring what the journal has, and these lines which no disk took, and come to an end."""
        self._rest_of_it = rest
        self._closing.set()

    async def run(self) -> None:
        delay, is_more = 0.0, False
        waiting: tuple[list[Entry], Part] | None = None
        while True:
            is_last = self._closing.is_set()  # A look that began before may know nothing of the last lines.
            try:
                if waiting is None:
                    waiting, is_more = await asyncio.to_thread(self._next)
                if waiting is not None:
                    await self._bring(*waiting)
                    waiting, delay = None, 0.0
                    self._restored()
                elif is_last:
                    await self._bring_rest()
                    self.done = True
                    return
            except Exception as error:  # noqa: BLE001  # A mistake of our own, too, must not leave the rest unwritten.
                self._failed(error)
                with suppress(OSError, RuntimeError):  # There may be no thread to be had.
                    await asyncio.to_thread(self._journal.sync)  # It may have to hold out for long.
                if self._closing.is_set():
                    if self._rest_of_it:
                        self._log.error("journal_lines_lost", extra={"lines": len(self._rest_of_it)})
                    return  # The journal stays, for whoever begins next.
                delay = min(delay * 2 or self._every_seconds, SLOWEST_SECONDS)
            if delay or not is_more:
                await self._rest(max(delay, self._every_seconds))

    async def _bring_rest(self) -> None:
        """What only memory has, and calls of which nobody has told the end: no process goes on with them."""
        ended, _ = self._fold.take(self._rest_of_it)
        entries = ended + self._fold.died()
        if entries:
            await _keep_copies(self._copies, entries)
            await self._book.write(entries, Part(self._journal.name, self._mark))
        self._rest_of_it = ()

    async def _rest(self, seconds: float) -> None:
        """So long, or until it is closed."""
        if self._closing.is_set():
            return
        waits = [asyncio.ensure_future(self._pause(seconds)), asyncio.ensure_future(self._closing.wait())]
        _, others = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in others:
            wait.cancel()

    def _next(self) -> tuple[tuple[list[Entry], Part] | None, bool]:
        """The next group, and whether there may be more at once."""
        lines, mark = self._journal.read(self._mark, LARGEST_GROUP)
        if not lines:
            return None, False
        ended, running = self._fold.take(lines)
        return (ended, Part(self._journal.name, mark, running)), len(lines) == LARGEST_GROUP

    async def _bring(self, ended: Sequence[Entry], part: Part) -> None:
        if self._copied != part.mark:
            await _keep_copies(self._copies, ended)
            self._copied = part.mark
        await self._book.write(ended, part)
        if part.mark.segment > self._mark.segment:
            await asyncio.to_thread(self._journal.forget, part.mark)
        else:
            self._journal.forget(part.mark)
        self._mark = part.mark

    def _failed(self, error: Exception) -> None:
        why = error.why if isinstance(error, StorageFailed) else f"{type(error).__name__}: {error}"
        if self._behind_since is None:
            self._behind_since = time.monotonic()
            self._log.error("ledger_not_written", extra={"bytes": self._journal.size, "error": why})

    def _restored(self) -> None:
        if self._behind_since is not None:
            self._log.warning("ledger_written_again", extra={"seconds": round(self.behind_seconds, 3)})
            self._behind_since = None


async def _keep_copies(copies: Sequence[Copy], entries: Sequence[Entry]) -> None:
    """Before the book has them, so that a crash in between leaves none out: who is given them again knows them."""
    if entries:
        for copy in copies:
            with suppress(TimeoutError):  # It goes on by itself; the book does not wait for it.
                await asyncio.wait_for(copy.keep(entries), COPY_SECONDS)


async def close_all(book: Book, now: datetime) -> None:
    """Close every call that goes on, where it is known that no gate goes on with any. Raises StorageFailed."""
    _, running = await book.at(now)
    if died := Fold({call.id: call for call in running}).died():
        await book.write(died, Part(CLOSED, Mark()))


async def take_over(above: Path, book: Book, copies: Sequence[Copy] = ()) -> int:
    """Bring to the book what processes left behind that have gone, and close the calls under which they died.

    How many these were. Raises StorageFailed and OSError.
    """
    count, log = 0, logging.getLogger("proxy.ledger")
    for folder, lock in journal.left_behind(above):
        with journal.released(lock):
            died, torn = await _finish(folder, book, copies)
            journal.remove(folder)
        if died or torn:
            log.warning("journal_taken_over", extra={"calls": died, "torn": torn})
        count += died
    return count


async def _finish(folder: Path, book: Book, copies: Sequence[Copy]) -> tuple[int, int]:
    """How many calls it closed, and how many lines told nothing."""
    mark, running = await book.begun(folder.name)
    fold = Fold({call.id: call for call in running})
    while True:
        lines, mark = journal.read(folder, mark, None, LARGEST_GROUP)
        ended, going_on = fold.take(lines)
        died = [] if lines else fold.died()
        entries = ended + died
        await _keep_copies(copies, entries)
        await book.write(entries, Part(folder.name, mark, going_on))
        if not lines:
            return len(died), fold.torn
