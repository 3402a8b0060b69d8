"""The ledger: a line is opened before anything can fail and closed on every way out, whatever happens in between."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Protocol

from proxy.errors import (
    BackendDown,
    BackendFailed,
    BackendRefused,
    ClientGone,
    ClientStalled,
    GateError,
    Refused,
    TooManyFailures,
    Truncated,
)
from proxy.ledger import Listener
from proxy.vocabulary import Ask, Call, Caller, Clock, Endpoint, Entry, Outcome, Upload, Usage, UsageIn

UNKNOWN = "unknown"
"""The endpoint of a call whose path is not in the table; the path itself is anybody's text and is not kept."""

LONGEST_NAME = 128


class Metered(Protocol):
    @property
    def usage(self) -> Usage: ...


class Writer(Protocol):
    """Keeps entries where they outlive the process."""

    async def keep(self, entry: Entry) -> None:
        """Return once the entry is kept, or is sure to be tried again. Does not raise."""


class Line:
    """What is known of one call while it goes on. The story fills it in as it learns."""

    def __init__(self, call: Call, clock: Clock) -> None:
        self.call = call
        self.caller: Caller | None = None
        self.endpoint: Endpoint | None = None
        self.ask: Ask | None = None
        self.meter: Metered | None = None
        self.prompt_cut = False
        self.failure: GateError | None = None
        """Why the answer broke off, noted at once: closing the connection cancels the call, and would hide it."""
        self.told_all = False
        """The client has the last words of a stream, and only its formal end is missing."""
        self._asked = False
        self._failed_first = False
        self._busy = 0.0
        self.bytes_in = 0
        self.bytes_out = 0
        self._status: int | None = None
        self._clock = clock
        self._opened = clock()
        self._first_byte: float | None = None

    @contextmanager
    def asking(self) -> Iterator[None]:
        """The backend may be at work on it from here on, so that its prompt costs at the least what is known of it.

        What it fails at before it has said anything is charged to nobody, though it may have cost something.
        """
        self._asked, asked_at = True, self._clock()
        try:
            yield
        except (BackendDown, BackendRefused):
            self._asked = False  # It never heard the question, or said no to it.
            raise
        except BackendFailed:
            self._failed_first = not self.begun
            raise
        finally:
            self._busy = self._clock() - asked_at

    def counted(self, upload: Upload) -> Upload:
        """The same upload, of which every byte that is passed on stands in this line."""
        return replace(upload, pieces=self._counted(upload.pieces))

    async def _counted(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in pieces:
            self.bytes_in += len(piece)
            yield piece

    def began(self, status: int) -> None:
        """The head of the answer is on its way."""
        self._status = status

    def sends(self, count: int) -> None:
        """So many bytes of the answer's body are handed over now."""
        if self._first_byte is None and count:
            self._first_byte = self._clock() - self._opened
        self.bytes_out += count

    @property
    def begun(self) -> bool:
        """Whether the client has been told that its answer is coming."""
        return self._status is not None

    @property
    def usage(self) -> Usage:
        if self._failed_first:
            return Usage(exact=False)
        if self.meter is not None:
            return self.meter.usage
        if self._asked and self.ask is not None:
            return Usage(prompt_tokens=self.ask.prompt_floor, exact=False)
        return Usage()

    @property
    def gpu_seconds(self) -> float:
        """What the backend's own phases took; where it tells none, how long it has been busy with the call."""
        is_free = self.endpoint is None or self.endpoint.usage_in is UsageIn.NOWHERE
        if is_free or self._failed_first or not self._asked:
            return 0.0
        phases = self.usage.phases_seconds
        return self._busy if phases is None else phases

    def closed(self, outcome: Outcome, error: GateError | None) -> Entry:
        """The entry that this line has become."""
        caller, ask = self.caller, self.ask
        status = self._status
        if status is None and error is not None and not isinstance(error, ClientGone):
            status = error.status
        return Entry(
            id=self.call.id,
            at=self.call.at,
            endpoint=self.endpoint.path if self.endpoint else UNKNOWN,
            outcome=outcome,
            status=status,
            reason=error.reason if error else None,
            user=caller.user if caller else None,
            team=caller.team if caller else None,
            key_id=caller.key_id if caller else None,
            plan=caller.plan.name if caller else None,
            model=shown(ask.model) if ask and ask.model else None,
            stream=ask.stream if ask else False,
            usage=self.usage,
            gpu_seconds=self.gpu_seconds,
            first_byte_seconds=self._first_byte,
            total_seconds=self._clock() - self._opened,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            peer=self.call.peer,
            changes=ask.changes if ask else (),
            prompt_cut=self.prompt_cut,
        )


class Ledger:
    """Opens and closes lines, keeps each entry and tells the listeners."""

    def __init__(self, writer: Writer, listeners: Sequence[Listener], clock: Clock) -> None:
        self._writer = writer
        self._listeners = listeners
        self._clock = clock
        self._closing: set[asyncio.Task[None]] = set()
        self._open: set[Line] = set()
        self._none_open = asyncio.Event()
        self._none_open.set()
        self.stopping = False
        """Set once the gate itself ends calls: a cancelled one is then no client that left."""

    @asynccontextmanager
    async def line(self, call: Call) -> AsyncIterator[Line]:
        """One call's line. Leaving it waits until the entry is kept, even where the call is cancelled meanwhile."""
        line = Line(call, self._clock)
        self._open.add(line)
        self._none_open.clear()
        outcome: Outcome = Outcome.GATE_FAILED
        error: GateError | None = GateError()
        try:
            yield line
            outcome, error = Outcome.SERVED, None
        except GateError as raised:
            outcome, error = outcome_of(raised), raised
            raise
        except asyncio.CancelledError:
            # A call is cancelled when its client has gone, or when the gate itself cannot wait for it any longer.
            if not self.stopping or line.failure is not None:
                error = line.failure or ClientGone()
                outcome = outcome_of(error)
            raise
        finally:
            if outcome is Outcome.CLIENT_LEFT and line.told_all:
                outcome, error = Outcome.SERVED, None  # Some clients hang up as soon as they have heard the last words.
            self._open.discard(line)
            if not self._open:
                self._none_open.set()
            if not isinstance(error, TooManyFailures):  # Who only guesses shall not fill the disk with it.
                await self._close(line.closed(outcome, error))

    async def idle(self, patience: float) -> None:
        """Return once no call is going on any more, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._none_open.wait()

    async def _close(self, entry: Entry) -> None:
        for listener in self._listeners:
            listener.recorded(entry)
        keeping = asyncio.create_task(self._writer.keep(entry))
        self._closing.add(keeping)
        keeping.add_done_callback(self._closing.discard)
        await asyncio.shield(keeping)

    async def settled(self) -> None:
        """Return once every line that was closed is kept: for the end of the gate's life."""
        while self._closing:
            await asyncio.wait(self._closing)


def shown(name: str) -> str:
    """A model's name as it may be kept: a caller may have written anything there."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:LONGEST_NAME])


def outcome_of(error: GateError) -> Outcome:
    match error:
        case Refused():
            return Outcome.REFUSED
        case BackendRefused() if error.status < 500:  # The model server refused what the caller asked.
            return Outcome.REFUSED
        case ClientStalled():
            return Outcome.CLIENT_STALLED
        case ClientGone():
            return Outcome.CLIENT_LEFT
        case Truncated():
            return Outcome.TRUNCATED
        case BackendFailed():
            return Outcome.BACKEND_FAILED
        case _:
            return Outcome.GATE_FAILED
