"""The ledger: a line is opened before anything can fail and closed on every way out, whatever happens in between."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol

from proxy.errors import (
    AuthUnavailable,
    BackendDown,
    BackendFailed,
    BackendRefused,
    ClientGone,
    ClientStalled,
    Died,
    GateError,
    GateStopping,
    LedgerFull,
    Refused,
    StorageFailed,
    TooManyFailures,
    Truncated,
)
from proxy.ledger import Listener, Running
from proxy.ledger.prices import Costs
from proxy.ledger.prompts import LOGGED, kept_for
from proxy.ledger.steps import Done, Step, Told
from proxy.ledger.under_way import Stage, UnderWay
from proxy.vocabulary import (
    Ask,
    Call,
    Caller,
    Clock,
    Endpoint,
    Entry,
    Later,
    Outcome,
    Takes,
    Tell,
    Upload,
    Usage,
    UsageIn,
)

UNKNOWN = "unknown"
"""The endpoint of a call whose path is not in the table; the path itself is anybody's text and is not kept."""

LONGEST_NAME = 128

_KEY = re.compile("(sk-lg_[0-9a-z]{12})_[0-9a-z_]+", re.IGNORECASE)
"""A key, or what is left of one, that somebody has put in the place of a model's name. Its id is no secret."""

SLACK_SECONDS = 1.0
"""By which the phases that a backend tells may be longer than the time that it was seen at work."""

MOMENT_SECONDS = 0.001
"""By which the end of a call may come after its last words and makes no difference."""

GOES_ON_SECONDS = 5.0
"""Between two looks at what calls under way have cost so far."""


class Metered(Protocol):
    @property
    def usage(self) -> Usage: ...


class Keeper(Protocol):
    """Keeps steps where they outlive the process."""

    @property
    def full(self) -> bool:
        """Whether no other call should begin."""

    def note(self, step: Step) -> None:
        """Keep a step that nobody waits for."""

    def keep(self, step: Step) -> Later | None:
        """Keep a step; what is left to wait for until it is kept, or is sure to be tried again. Does not raise."""


Pause = Callable[[float], Awaitable[None]]


class Prompts(Protocol):
    """Keeps what is asked, word for word, for callers whose plan says so and who are told."""

    def log(
        self,
        call_id: str,
        at: datetime,
        user: str | None,
        keep_seconds: float,
        endpoint: str,
        body: bytes | None,
        *,
        length: int | None = None,
    ) -> None:
        """Without a body, as for forms and raw transfers, its length is all that is told. Never waits or raises."""


CostsOf = Callable[[str | None, Usage, float], Costs]
"""What a call costs by its model, its usage and its seconds of the GPU. Must be quick and must not raise."""


def _without_price(model: str | None, usage: Usage, gpu_seconds: float) -> Costs:
    return Costs()


class Line:
    """What is known of one call while it goes on. The story fills it in as it learns."""

    def __init__(
        self, call: Call, peer: str, clock: Clock, keeper: Keeper, costs: CostsOf, prompts: Prompts | None = None
    ) -> None:
        self.call = call
        self.peer = peer
        """The client's address, as it is kept."""
        self._keeper = keeper
        self._costs = costs
        self._prompts = prompts
        self._told: Entry | None = None
        self.caller: Caller | None = None
        self.endpoint: Endpoint | None = None
        self.ask: Ask | None = None
        self.meter: Metered | None = None
        self.prompt_cut = False
        self.most_prompt: int | None = None
        """Tokens that the model which answers can hold; None where nobody has said."""
        self.failure: GateError | None = None
        """Why the answer broke off, noted at once: closing the connection cancels the call, and would hide it."""
        self.told_all = False
        """The client has the last words, and only the formal end of the answer is missing."""
        self._asked = False
        self._failed_first = False
        self._asked_at: float | None = None
        self._busy: float | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self._status: int | None = None
        self._clock = clock
        self._opened = clock()
        self._first_byte: float | None = None
        self.part: _Stoppable | None = None
        """The innermost one in which the gate may end the call."""

    def stoppable(self) -> "_Stoppable":
        """A part of the call in which the gate may end it. Raises GateStopping then; of two parts, the inner one."""
        return _Stoppable(self)

    def stop(self) -> None:
        """End the call, wherever it is."""
        if self.part is not None:
            self.part.stop()

    def begun_by(self, caller: Caller) -> Caller:
        """From here on the call is in the ledger, whatever happens. Gives the caller back."""
        self.caller = caller
        call = self.call
        self._keeper.note(
            Running(
                id=call.id,
                at=call.at,
                endpoint=self._path,
                user=caller.user,
                team=caller.team,
                key_id=caller.key_id,
                plan=caller.plan.name,
                peer=self.peer,
            )
        )
        return caller

    def asking(self, tell: Tell | None = None) -> "_Asking":
        """The backend may be at work on it from here on, so that its prompt costs at the least what is known of it.

        It is asked once the ledger knows, and once the caller is told where what it asks is kept word for word. What
        the backend fails at before it has said anything is charged to nobody, though it may have cost something.
        """
        return _Asking(self, tell)

    async def asks(self, tell: Tell | None) -> None:
        """The beginning of ``asking``."""
        self._asked = True
        try:
            if (later := self._keeper.keep(Told(self.closed(Outcome.LOST, Died())))) is not None:
                await later
        except asyncio.CancelledError:
            self._asked = False
            raise
        self._asked_at = self._clock()
        self._log_prompt(tell)

    def has_asked(self, error: BaseException | None) -> None:
        """The end of ``asking``, and what it ended with."""
        if isinstance(error, (BackendDown, BackendRefused)):
            self._asked = False  # It never heard the question, or said no to it.
        elif isinstance(error, BackendFailed):
            self._failed_first = not self.begun
        self._busy = self.busy_seconds

    def _log_prompt(self, tell: Tell | None) -> None:
        """Keep what is asked word for word, where the plan says so; never without telling the caller."""
        ask, caller = self.ask, self.caller
        if self._prompts is None or tell is None or ask is None or caller is None or caller.plan.log_prompts is None:
            return
        if ask.endpoint.takes is Takes.NOTHING:
            return
        kept, is_text = caller.plan.log_prompts, ask.endpoint.takes is Takes.JSON
        tell({LOGGED: kept_for(kept)})
        body = ask.body
        length = len(body) if body is not None else self.bytes_in
        text = body if is_text else None
        self._prompts.log(self.call.id, self.call.at, caller.user, kept, self._path, text, length=length)

    def tells(self, status: int) -> Later | None:
        """The client is about to hear what a good answer cost, though not the last of it: see ``tells_all``."""
        return self._keeper.keep(Told(self.closed(Outcome.LOST, Died(), status=status)))

    def tells_all(self, status: int, last: int) -> Later | None:
        """The client is about to hear the last of a good answer, which has so many bytes.

        What is left to wait for until the ledger has what all of it cost; the client is told after that.
        """
        self._busy = self.busy_seconds
        self._told = self.closed(Outcome.SERVED, None, status=status, last=last)
        return self._keeper.keep(Told(self._told))

    def goes_on(self) -> None:
        """Tell the ledger what it has cost so far, for the case that the gate dies under it."""
        if self._asked and self._told is None:
            self._keeper.note(Told(self.closed(Outcome.LOST, Died())))

    @property
    def as_told(self) -> Entry | None:
        """What the ledger has been told, where the call has ended within a moment and just so, as nearly all do."""
        told = self._told
        if told is None or (told.bytes_out, told.prompt_cut) != (self.bytes_out, self.prompt_cut):
            return None
        if told.usage is not self.usage:
            return None
        return told if self._clock() - self._opened - told.total_seconds < MOMENT_SECONDS else None

    def ended_as_told(self, entry: Entry) -> bool:
        """Whether it has ended as the ledger has been told, which then has heard of that in a few words."""
        told = self._told
        if told is None or (told.outcome, told.usage, told.prompt_cut) != (
            entry.outcome,
            entry.usage,
            entry.prompt_cut,
        ):
            return False
        self._keeper.note(Done(entry.id, entry.bytes_out, entry.first_byte_seconds, entry.total_seconds))
        return True

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
        if self.endpoint is not None and self.endpoint.usage_in is UsageIn.NOWHERE:
            return Usage()  # Whatever becomes of it, there is nothing to estimate.
        if self._failed_first:
            return Usage(exact=False)
        if self.meter is not None:
            usage = self.meter.usage
            if usage.phases_seconds is not None and _is_too_long(usage.phases_seconds, self.busy_seconds):
                return replace(
                    usage,
                    exact=False,
                    suspicious=True,
                    load_seconds=None,
                    prompt_seconds=None,
                    completion_seconds=None,
                )
            most = self.most_prompt
            if most is not None and not usage.exact and usage.prompt_tokens > most:
                return replace(usage, prompt_tokens=most)
            return usage
        if self._asked and self.ask is not None:
            return Usage(prompt_tokens=self.ask.prompt_floor, exact=False)
        return Usage()

    @property
    def busy_seconds(self) -> float:
        """How long the backend has been at work on it so far."""
        if self._busy is not None:
            return self._busy
        return 0.0 if self._asked_at is None else self._clock() - self._asked_at

    @property
    def gpu_seconds(self) -> float:
        """What the backend's own phases took; where it tells none, how long it has been busy with the call."""
        return self._gpu_seconds(self.usage)

    def _gpu_seconds(self, usage: Usage) -> float:
        is_free = self.endpoint is None or self.endpoint.usage_in is UsageIn.NOWHERE
        if is_free or self._failed_first or not self._asked:
            return 0.0
        phases, busy = usage.phases_seconds, self.busy_seconds
        return busy if phases is None or _is_too_long(phases, busy) else phases

    def view(self) -> UnderWay | None:
        """What it is doing now; None while nobody knows whose it is."""
        caller, ask, usage = self.caller, self.ask, self.usage
        if caller is None:
            return None
        return UnderWay(
            id=self.call.id,
            user=caller.user,
            team=caller.team,
            key_id=caller.key_id,
            endpoint=self._path,
            model=shown(ask.model) if ask and ask.model else None,
            stage=self.stage,
            seconds=self._clock() - self._opened,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            bytes_out=self.bytes_out,
        )

    @property
    def stage(self) -> Stage:
        """How far it is."""
        if self.meter is not None:
            return Stage.ANSWERING
        return Stage.WAITING if self._asked else Stage.ARRIVING

    @property
    def _path(self) -> str:
        return self.endpoint.path if self.endpoint else UNKNOWN

    def closed(
        self, outcome: Outcome, error: GateError | None, *, status: int | None = None, last: int | None = None
    ) -> Entry:
        """The entry that this line has become.

        ``status`` is what the client is about to be told, and ``last`` how many bytes are still to be sent to it.
        """
        caller, ask, usage = self.caller, self.ask, self.usage
        total, first = self._clock() - self._opened, self._first_byte
        if status is None:
            status = self._status
            if status is None and error is not None and not isinstance(error, (ClientGone, Died)):
                status = error.status
        if last is not None and first is None:
            first = total
        model, gpu_seconds = shown(ask.model) if ask and ask.model else None, self._gpu_seconds(usage)
        cost, elsewhere, watt_hours = self._costs(model, usage, gpu_seconds)
        return Entry(
            id=self.call.id,
            at=self.call.at,
            endpoint=self._path,
            outcome=outcome,
            status=status,
            reason=error.reason if error else None,
            user=caller.user if caller else None,
            team=caller.team if caller else None,
            key_id=caller.key_id if caller else None,
            plan=caller.plan.name if caller else None,
            model=model,
            stream=ask.stream if ask else False,
            usage=usage,
            gpu_seconds=gpu_seconds,
            first_byte_seconds=first,
            total_seconds=total,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out + (last or 0),
            peer=self.peer,
            changes=ask.changes if ask else (),
            prompt_cut=self.prompt_cut,
            cost=cost,
            elsewhere=elsewhere,
            watt_hours=watt_hours,
        )


class _Asking:
    """See ``Line.asking``. No generator, as none of those that every call goes through."""

    __slots__ = ("_line", "_tell")

    def __init__(self, line: Line, tell: Tell | None) -> None:
        self._line = line
        self._tell = tell

    async def __aenter__(self) -> None:
        await self._line.asks(self._tell)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.has_asked(error)


class _Stoppable:
    """See ``Line.stoppable``."""

    __slots__ = ("_around", "_before", "_is_stopped", "_line", "_task")

    def __init__(self, line: Line) -> None:
        self._line = line
        self._around: _Stoppable | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_stopped = False
        self._before = 0
        """How many have asked for the task's end before."""

    def stop(self) -> None:
        if self._task is not None and not self._is_stopped:
            self._is_stopped = True
            self._task.cancel()

    async def __aenter__(self) -> None:
        self._task = task = asyncio.current_task()
        self._before = 0 if task is None else task.cancelling()
        self._around, self._line.part = self._line.part, self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises GateStopping where it was stopped and for no other reason ended."""
        self._line.part = self._around
        task, self._task = self._task, None
        if self._is_stopped and task is not None:
            is_only_stopped = task.uncancel() <= self._before
            if is_only_stopped and isinstance(error, asyncio.CancelledError):
                raise GateStopping from error


class Ledger:
    """Opens and closes lines, keeps each entry and tells the listeners."""

    def __init__(
        self,
        keeper: Keeper,
        listeners: Sequence[Listener],
        clock: Clock,
        *,
        costs: CostsOf = _without_price,
        veil: Callable[[str], str] = str,
        prompts: Prompts | None = None,
        required: bool = True,
    ) -> None:
        """``veil`` gives an address as it may be kept; ``required`` says whether no call may begin for which there is
        no room.
        """
        self._keeper = keeper
        self._listeners = listeners
        self._clock = clock
        self._costs = costs
        self._veil = veil
        self._prompts = prompts
        self._required = required
        self.refused = 0
        """Calls that were refused because there was no room for their lines, or no key could be looked up: they have
        none."""
        self.unsure = 0
        """Calls that were let in all the same."""
        self._closing: set[asyncio.Task[None]] = set()
        self._open: set[Line] = set()
        self._none_open = asyncio.Event()
        self._none_open.set()
        self.stopping = False
        """Set once the gate itself ends calls: a cancelled one is then no client that left."""

    def line(self, call: Call) -> "_Open":
        """One call's line. Leaving it waits until the entry is kept, even where the call is cancelled meanwhile."""
        return _Open(self, Line(call, self._veil(call.peer), self._clock, self._keeper, self._costs, self._prompts))

    def opens(self, line: Line) -> None:
        """Raises LedgerFull or GateStopping where no call may begin; what was opened has to be closed all the same."""
        self._open.add(line)
        self._none_open.clear()
        if self._keeper.full:
            self._refuse()
        if self.stopping:
            raise GateStopping

    def closes(self, line: Line, raised: BaseException | None) -> Later | None:
        """The call has ended, with what was raised; what is left to wait for until its entry is kept."""
        outcome, error = self._ending(line, raised)
        if outcome is Outcome.CLIENT_LEFT and line.told_all:
            outcome, error = Outcome.SERVED, None  # Some clients hang up as soon as they have heard the last words.
        self._open.discard(line)
        if not self._open:
            self._none_open.set()
        # Who only guesses shall not fill the disk, nor who comes while it is full or no key can be looked up.
        is_nobodys = line.caller is None and isinstance(error, (StorageFailed, AuthUnavailable))
        self.refused += is_nobodys
        if is_nobodys or isinstance(error, (TooManyFailures, LedgerFull)):
            return None
        entry = line.as_told if outcome is Outcome.SERVED else None
        return self._close(line, entry or line.closed(outcome, error))

    def _ending(self, line: Line, raised: BaseException | None) -> tuple[Outcome, GateError | None]:
        if raised is None:
            return Outcome.SERVED, None
        if isinstance(raised, GateError):
            return outcome_of(raised), raised
        if isinstance(raised, asyncio.CancelledError) and (not self.stopping or line.failure is not None):
            # A call is cancelled when its client has gone, or when the gate itself cannot wait for it any longer.
            error = line.failure or ClientGone()
            return outcome_of(error), error
        return Outcome.GATE_FAILED, GateError()

    def _refuse(self) -> None:
        if self._required:
            self.refused += 1
            raise LedgerFull
        self.unsure += 1

    async def watch(self, pause: Pause) -> None:
        """Tell from time to time what the calls that go on have cost so far, for ever."""
        while True:
            await pause(GOES_ON_SECONDS)
            for line in tuple(self._open):
                line.goes_on()

    @property
    def open(self) -> tuple["Line", ...]:
        """Calls that go on."""
        return tuple(self._open)

    def stop(self) -> None:
        """End every call that still goes on, and let no other begin: the gate itself is ending."""
        self.stopping = True
        for line in tuple(self._open):
            line.stop()

    async def idle(self, patience: float) -> None:
        """Return once no call is going on any more, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._none_open.wait()

    def _close(self, line: Line, entry: Entry) -> Later | None:
        for listener in self._listeners:
            listener.recorded(entry)
        if line.ended_as_told(entry):
            return None
        later = self._keeper.keep(entry)
        return None if later is None else self._kept(later)

    async def _kept(self, later: Later) -> None:
        """Wait for it, and where that is cut short let it go on by itself."""
        keeping = asyncio.create_task(later)
        self._closing.add(keeping)
        keeping.add_done_callback(self._closing.discard)
        await asyncio.shield(keeping)

    async def settled(self) -> None:
        """Return once every line that was closed is kept: for the end of the gate's life."""
        while self._closing:
            await asyncio.wait(self._closing)


class _Open:
    """See ``Ledger.line``."""

    __slots__ = ("_ledger", "_line", "_part")

    def __init__(self, ledger: Ledger, line: Line) -> None:
        self._ledger = ledger
        self._line = line
        self._part = line.stoppable()

    async def __aenter__(self) -> Line:
        try:
            self._ledger.opens(self._line)
        except GateError as error:
            await self._closed(error)
            raise
        await self._part.__aenter__()
        return self._line

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._part.__aexit__(kind, error, trace)
        except GateStopping as stopped:
            await self._closed(stopped)
            raise
        await self._closed(error)

    async def _closed(self, error: BaseException | None) -> None:
        if (later := self._ledger.closes(self._line, error)) is not None:
            await later


def _is_too_long(phases: float, busy: float) -> bool:
    """Whether a backend tells of more seconds than it has had."""
    return phases > busy + SLACK_SECONDS


def shown(name: str) -> str:
    """A model's name as it may be kept: a caller may have written anything there, even a key."""
    name = _KEY.sub(r"\1_…", name[:LONGEST_NAME])
    return name if name.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in name)


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
