import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from proxy import errors
from proxy.errors import BackendDown, BackendRefused, ClientGone, ClientStalled, GateError, Truncated
from proxy.ledger.line import LONGEST_NAME, Ledger, Line, shown
from proxy.policy.endpoints import find
from proxy.vocabulary import Ask, Call, Caller, Entry, Outcome, Plan, Usage
from tests.fakes.clock import FakeClock

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CALL = Call("c1", NOON, "POST", "/api/chat", secrets=("canary",), peer="127.0.0.1")
CALLER = Caller("alice", "k1", Plan("default"), team="lab")
CHAT = find("POST", "/api/chat")[0]
TAGS = find("GET", "/api/tags")[0]
ASK = Ask(CHAT, model="llama3.2:1b", stream=True, prompt_floor=7)


class Kept:
    """A ``Writer`` that is as slow as it is told to be."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.asked = asyncio.Event()
        self.may_write = asyncio.Event()
        self.may_write.set()

    async def keep(self, entry: Entry) -> None:
        self.asked.set()
        await self.may_write.wait()
        self.entries.append(entry)


class Heard:
    """A ``Listener``."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def recorded(self, entry: Entry) -> None:
        self.entries.append(entry)


@dataclass
class Meter:
    usage: Usage


@dataclass
class Desk:
    kept: Kept
    heard: Heard
    clock: FakeClock
    ledger: Ledger

    async def one(self, happens: Callable[[Line], object]) -> Entry:
        """The one entry of a call in which this happens."""
        try:
            async with self.ledger.line(CALL) as line:
                happens(line)
        except (GateError, RuntimeError):
            assert self.kept.entries  # It was written before anybody could hear of it.
        (entry,) = self.kept.entries

        assert [entry] == self.heard.entries
        return entry


@pytest.fixture
def desk() -> Desk:
    kept, heard, clock = Kept(), Heard(), FakeClock()
    return Desk(kept, heard, clock, Ledger(kept, [heard], clock))


def raising(error: BaseException, before: Callable[[Line], object] = lambda line: None) -> Callable[[Line], None]:
    def happens(line: Line) -> None:
        before(line)
        raise error

    return happens


REFUSALS = [
    errors.Refused(),
    errors.NotUnderstood(),
    errors.BodyTooLarge(),
    errors.EncodingUnknown(),
    errors.BodyTooSlow(),
    errors.KnobRefused(),
    errors.NeverFits(),
    errors.PromptNeverFits(),
    errors.TwoCredentials(),
    errors.Unauthenticated(),
    errors.Forbidden(),
    errors.PullTooLarge(),
    errors.NoSuchRoute(),
    errors.WrongMethod(("POST",)),
    errors.NoSuchModel(),
    errors.RateLimited("Later.", wait=1),
]
FAILURES = [
    errors.BackendFailed(),
    errors.BackendRefused(500),
    errors.ModelServerBusy(),
    errors.BackendDown(),
    errors.BackendSilent(),
    errors.BackendBrokeOff(),
]
WAYS_OUT: list[tuple[GateError, Outcome, int | None]] = [
    *[(error, Outcome.REFUSED, error.status) for error in REFUSALS],
    *[(error, Outcome.BACKEND_FAILED, error.status) for error in FAILURES],
    (errors.BackendRefused(429), Outcome.REFUSED, 429),
    (Truncated(), Outcome.TRUNCATED, 502),
    (ClientGone(), Outcome.CLIENT_LEFT, None),
    (ClientStalled(), Outcome.CLIENT_STALLED, None),
    (errors.StorageFailed(), Outcome.GATE_FAILED, 503),
    (errors.StoreFailed(), Outcome.GATE_FAILED, 503),
    (errors.Misconfigured(), Outcome.GATE_FAILED, 500),
    (GateError(), Outcome.GATE_FAILED, 500),
]


def test_every_error_is_a_way_out() -> None:
    kinds = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, GateError)}

    assert kinds - {errors.TooManyFailures} == {type(error) for error, _, _ in WAYS_OUT}  # It leaves none.


@pytest.mark.parametrize(("error", "outcome", "status"), WAYS_OUT, ids=lambda case: type(case).__name__)
async def test_every_error_leaves_one_entry_that_says_so(
    desk: Desk, error: GateError, outcome: Outcome, status: int | None
) -> None:
    entry = await desk.one(raising(error))

    assert (outcome, status, error.code) == (entry.outcome, entry.status, entry.reason)


@pytest.mark.parametrize(("error", "outcome", "_status"), WAYS_OUT, ids=lambda case: type(case).__name__)
async def test_after_the_first_byte_the_status_is_what_the_caller_heard(
    desk: Desk, error: GateError, outcome: Outcome, _status: int | None
) -> None:
    entry = await desk.one(raising(error, before=lambda line: line.began(200)))

    assert (outcome, 200, error.code) == (entry.outcome, entry.status, entry.reason)


async def test_the_error_itself_goes_on_to_the_door(desk: Desk) -> None:
    error = BackendDown()
    with pytest.raises(BackendDown) as raised:
        async with desk.ledger.line(CALL):
            raise error

    assert error is raised.value


async def test_a_call_that_was_served_tells_all_that_was_learned(desk: Desk) -> None:
    def happens(line: Line) -> None:
        line.endpoint, line.caller, line.ask = CHAT, CALLER, replace(ASK, changes=("num_ctx=dropped",))
        line.prompt_cut = True
        line.bytes_in = 10
        desk.clock.seconds += 0.25
        line.began(200)
        line.meter = Meter(Usage(7, 3))
        desk.clock.seconds += 0.25
        line.sends(4)
        desk.clock.seconds += 0.5
        line.sends(5)

    expected = Entry(
        id="c1",
        at=NOON,
        endpoint="/api/chat",
        outcome=Outcome.SERVED,
        status=200,
        user="alice",
        team="lab",
        key_id="k1",
        plan="default",
        model="llama3.2:1b",
        stream=True,
        usage=Usage(7, 3),
        first_byte_seconds=0.5,
        total_seconds=1.0,
        bytes_in=10,
        bytes_out=9,
        peer="127.0.0.1",
        changes=("num_ctx=dropped",),
        prompt_cut=True,
    )

    assert expected == await desk.one(happens)


async def test_a_crash_is_the_gates_fault_and_its_text_is_not_kept(desk: Desk) -> None:
    entry = await desk.one(raising(RuntimeError("canary")))

    assert (Outcome.GATE_FAILED, 500, "internal_error") == (entry.outcome, entry.status, entry.reason)
    assert "canary" not in repr(entry)


async def test_an_unknown_path_is_not_kept(desk: Desk) -> None:
    entry = await desk.one(raising(errors.NoSuchRoute()))

    assert "unknown" == entry.endpoint


@pytest.mark.parametrize(
    ("began", "stopping", "outcome", "status", "reason"),
    [
        (False, False, Outcome.CLIENT_LEFT, None, "client_left"),
        (True, False, Outcome.CLIENT_LEFT, 200, "client_left"),
        (False, True, Outcome.GATE_FAILED, 500, "internal_error"),
        (True, True, Outcome.GATE_FAILED, 200, "internal_error"),
    ],
)
async def test_a_cancelled_call_is_one_whose_client_left_unless_the_gate_stops(
    desk: Desk, began: bool, stopping: bool, outcome: Outcome, status: int | None, reason: str
) -> None:
    inside = asyncio.Event()

    async def call() -> None:
        async with desk.ledger.line(CALL) as line:
            if began:
                line.began(200)
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await inside.wait()
    desk.ledger.stopping = stopping
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (entry,) = desk.kept.entries

    assert (outcome, status, reason) == (entry.outcome, entry.status, entry.reason)


@pytest.mark.parametrize("error", [None, BackendDown()])
async def test_a_call_that_is_cancelled_while_its_line_is_written_keeps_it(desk: Desk, error: GateError | None) -> None:
    desk.kept.may_write.clear()

    async def call() -> None:
        async with desk.ledger.line(CALL):
            if error:
                raise error

    task = asyncio.create_task(call())
    await desk.kept.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    settled = asyncio.create_task(desk.ledger.settled())
    await asyncio.sleep(0)

    assert not settled.done()

    desk.kept.may_write.set()
    await settled

    assert [Outcome.BACKEND_FAILED if error else Outcome.SERVED] == [entry.outcome for entry in desk.kept.entries]


async def test_leaving_a_line_waits_until_it_is_kept(desk: Desk) -> None:
    desk.kept.may_write.clear()
    task = asyncio.create_task(desk.one(lambda line: None))
    await desk.kept.asked.wait()

    assert not task.done()

    desk.kept.may_write.set()

    assert Outcome.SERVED is (await task).outcome


async def test_nothing_to_settle_is_settled(desk: Desk) -> None:
    await desk.ledger.settled()


@pytest.mark.parametrize(
    ("error", "usage"),
    [
        (None, Usage(7, exact=False)),
        (RuntimeError(), Usage(7, exact=False)),
        (ClientGone(), Usage(7, exact=False)),
        (errors.BackendSilent(), Usage(exact=False)),
        (errors.BackendBrokeOff(), Usage(exact=False)),
        (BackendDown(), Usage()),
        (BackendRefused(404), Usage()),
        (errors.ModelServerBusy(), Usage()),
    ],
)
async def test_whom_the_backend_heard_pays_at_least_the_prompt_unless_it_failed_before_its_first_byte(
    desk: Desk, error: Exception | None, usage: Usage
) -> None:
    def happens(line: Line) -> None:
        line.ask = ASK
        with line.asking():
            if error:
                raise error

    assert usage == (await desk.one(happens)).usage


async def test_what_was_never_asked_costs_nothing(desk: Desk) -> None:
    def happens(line: Line) -> None:
        line.ask = ASK
        raise errors.NoSuchModel

    assert Usage() == (await desk.one(happens)).usage


async def test_what_was_shown_before_the_backend_failed_is_paid(desk: Desk) -> None:
    def happens(line: Line) -> None:
        line.ask = ASK
        with line.asking():
            line.meter = Meter(Usage(20, 5, exact=False))
            line.began(200)
            raise errors.BackendBrokeOff

    assert Usage(20, 5, exact=False) == (await desk.one(happens)).usage


@pytest.mark.parametrize(
    ("usage", "seconds"),
    [(Usage(20, 5), 3.0), (Usage(20, 5, load_seconds=0.25, completion_seconds=0.5), 0.75)],
)
async def test_the_gpu_is_paid_by_the_phases_or_by_the_time_that_the_backend_was_busy(
    desk: Desk, usage: Usage, seconds: float
) -> None:
    def happens(line: Line) -> None:
        line.endpoint, line.ask = CHAT, ASK
        desk.clock.seconds += 1.0
        with line.asking():
            line.meter = Meter(usage)
            desk.clock.seconds += 3.0
        desk.clock.seconds += 1.0

    assert seconds == (await desk.one(happens)).gpu_seconds


async def test_what_has_no_tokens_costs_no_gpu(desk: Desk) -> None:
    def happens(line: Line) -> None:
        line.endpoint = TAGS
        with line.asking():
            desk.clock.seconds += 3.0

    assert 0.0 == (await desk.one(happens)).gpu_seconds


async def test_who_only_guesses_has_no_line(desk: Desk) -> None:
    with pytest.raises(errors.TooManyFailures):
        async with desk.ledger.line(CALL):
            raise errors.TooManyFailures(wait=1)

    assert ([], []) == (desk.heard.entries, desk.kept.entries)


async def test_a_meter_knows_better_than_the_floor(desk: Desk) -> None:
    def happens(line: Line) -> None:
        line.ask = ASK
        with line.asking():
            line.meter = Meter(Usage(20, 5, exact=False))
            raise ClientGone

    assert Usage(20, 5, exact=False) == (await desk.one(happens)).usage


async def test_a_model_that_was_refused_is_kept_on_one_short_line(desk: Desk) -> None:
    def happens(line: Line) -> None:
        line.ask = Ask(CHAT, model="x\n\x1b[2J\u2028\udcff\x00" + "y" * 999)
        raise errors.NoSuchModel

    model = (await desk.one(happens)).model

    assert model == "x??[2J???" + "y" * (LONGEST_NAME - 9)


def test_a_name_in_any_script_is_shown_as_it_is() -> None:
    assert "käse-模型:1b" == shown("käse-模型:1b")


async def test_the_ledger_is_idle_when_its_last_line_is_left(desk: Desk) -> None:
    await desk.ledger.idle(0)
    async with desk.ledger.line(CALL):
        async with desk.ledger.line(CALL):
            pass
        waiting = asyncio.create_task(desk.ledger.idle(3600))
        await asyncio.sleep(0)

        assert not waiting.done()
    await waiting


async def test_patience_with_open_calls_has_an_end(desk: Desk) -> None:
    async with desk.ledger.line(CALL):
        await desk.ledger.idle(0)
