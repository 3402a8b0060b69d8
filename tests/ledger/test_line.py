import asyncio
import inspect
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from proxy import errors
from proxy.auth import api_keys
from proxy.errors import BackendDown, BackendRefused, ClientGone, ClientStalled, GateError, GateStopping, Truncated
from proxy.ledger import Running
from proxy.ledger.bookkeeping import Fold
from proxy.ledger.line import LONGEST_NAME, Ledger, Line, shown
from proxy.ledger.prices import Costs
from proxy.ledger.steps import Done, Step, Told, written
from proxy.policy.endpoints import find
from proxy.vocabulary import Ask, Call, Caller, Carrier, Credential, Entry, Later, Outcome, Plan, Usage
from tests.fakes.clock import FakeClock

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CALL = Call("c1", NOON, "POST", "/api/chat", credentials=(Credential(Carrier.BEARER, "canary"),), peer="127.0.0.1")
CALLER = Caller("alice", "k1", Plan("default"), team="lab")
CHAT = find("POST", "/api/chat")[0]
TAGS = find("GET", "/api/tags")[0]
ASK = Ask(CHAT, model="llama3.2:1b", stream=True, prompt_floor=7)


async def done(later: Later | None) -> None:
    """Return once what is left to wait for is done, if anything is."""
    if later is not None:
        await later


class Kept:
    """A ``Keeper`` that is as slow as it is told to be."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.full = False
        self.asked = asyncio.Event()
        self.may_write = asyncio.Event()
        self.may_write.set()

    def note(self, step: Step) -> None:
        self.steps.append(step)

    async def keep(self, step: Step) -> None:
        self.asked.set()
        await self.may_write.wait()
        self.steps.append(step)

    @property
    def entries(self) -> list[Entry]:
        """What becomes of it all."""
        return Fold().take([written(step).rstrip(b"\n") for step in self.steps])[0]


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
                if inspect.isawaitable(happening := happens(line)):
                    await happening
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
    (errors.StoreFailed(), Outcome.GATE_FAILED, 503),
    (errors.Died(), Outcome.GATE_FAILED, None),
    (errors.GateStopping(), Outcome.GATE_FAILED, 503),
    (errors.Misconfigured(), Outcome.GATE_FAILED, 500),
    (GateError(), Outcome.GATE_FAILED, 500),
]


def test_every_error_is_a_way_out() -> None:
    kinds = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, GateError)}

    # These leave none, the last two where it is not known who asks.
    assert kinds - {errors.TooManyFailures, errors.LedgerFull, errors.StorageFailed, errors.AuthUnavailable} == {
        type(error) for error, _, _ in WAYS_OUT
    }


@pytest.mark.parametrize(("error", "outcome", "status"), WAYS_OUT, ids=lambda case: type(case).__name__)
async def test_every_error_leaves_one_entry_that_says_so(
    desk: Desk, error: GateError, outcome: Outcome, status: int | None
) -> None:
    entry = await desk.one(raising(error))

    assert (outcome, status, error.reason) == (entry.outcome, entry.status, entry.reason)


@pytest.mark.parametrize(("error", "outcome", "_status"), WAYS_OUT, ids=lambda case: type(case).__name__)
async def test_after_the_first_byte_the_status_is_what_the_caller_heard(
    desk: Desk, error: GateError, outcome: Outcome, _status: int | None
) -> None:
    entry = await desk.one(raising(error, before=lambda line: line.began(200)))

    assert (outcome, 200, error.reason) == (entry.outcome, entry.status, entry.reason)


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
    async def happens(line: Line) -> None:
        line.ask = ASK
        async with line.asking():
            if error:
                raise error

    assert usage == (await desk.one(happens)).usage


async def test_what_was_never_asked_costs_nothing(desk: Desk) -> None:
    def happens(line: Line) -> None:
        line.ask = ASK
        raise errors.NoSuchModel

    assert Usage() == (await desk.one(happens)).usage


async def test_what_was_shown_before_the_backend_failed_is_paid(desk: Desk) -> None:
    async def happens(line: Line) -> None:
        line.ask = ASK
        async with line.asking():
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
    async def happens(line: Line) -> None:
        line.endpoint, line.ask = CHAT, ASK
        desk.clock.seconds += 1.0
        async with line.asking():
            line.meter = Meter(usage)
            desk.clock.seconds += 3.0
        desk.clock.seconds += 1.0

    assert seconds == (await desk.one(happens)).gpu_seconds


async def test_what_has_no_tokens_costs_no_gpu(desk: Desk) -> None:
    async def happens(line: Line) -> None:
        line.endpoint = TAGS
        async with line.asking():
            desk.clock.seconds += 3.0

    assert 0.0 == (await desk.one(happens)).gpu_seconds


async def test_who_only_guesses_has_no_line(desk: Desk) -> None:
    with pytest.raises(errors.TooManyFailures):
        async with desk.ledger.line(CALL):
            raise errors.TooManyFailures(wait=1)

    assert ([], []) == (desk.heard.entries, desk.kept.entries)


async def test_a_meter_knows_better_than_the_floor(desk: Desk) -> None:
    async def happens(line: Line) -> None:
        line.ask = ASK
        async with line.asking():
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


@pytest.mark.parametrize("before", ["", "my/", "x" * (LONGEST_NAME - 63)])
@pytest.mark.parametrize("written", [str, str.lower])
def test_a_key_that_was_sent_as_a_models_name_is_not_kept(before: str, written: Callable[[str], str]) -> None:
    key_id, key = api_keys.new(secrets.token_bytes)

    told = shown(written(before + key))

    assert written(f"{before}sk-lg_{key_id}_…") == told


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


BEGUN = Running("c1", NOON, "/api/chat", "alice", "lab", "k1", "default", peer="127.0.0.1")


async def test_a_call_is_in_the_ledger_from_when_it_is_known_whose_it_is(desk: Desk) -> None:
    async with desk.ledger.line(CALL) as line:
        line.endpoint = CHAT

        assert (CALLER, [BEGUN]) == (line.begun_by(CALLER), desk.kept.steps)


async def test_the_backend_is_asked_once_the_ledger_knows_what_that_costs_at_the_least(desk: Desk) -> None:
    desk.kept.may_write.clear()
    asked: list[Line] = []

    async def call() -> None:
        async with desk.ledger.line(CALL) as line:
            line.endpoint, line.ask = CHAT, ASK
            line.begun_by(CALLER)
            async with line.asking():
                asked.append(line)

    calling = asyncio.create_task(call())
    await desk.kept.asked.wait()
    before = len(asked)
    desk.kept.may_write.set()
    await calling
    told = desk.kept.steps[1]

    assert (0, 1) == (before, len(asked))
    assert isinstance(told, Told)
    assert (Outcome.LOST, "gate_died", None) == (told.entry.outcome, told.entry.reason, told.entry.status)
    assert ("llama3.2:1b", Usage(7, exact=False)) == (told.entry.model, told.entry.usage)


async def test_a_call_that_is_given_up_before_the_backend_is_asked_costs_nothing(desk: Desk) -> None:
    desk.kept.may_write.clear()

    async def call() -> None:
        async with desk.ledger.line(CALL) as line:
            line.ask = ASK
            async with line.asking():
                pass

    calling = asyncio.create_task(call())
    await desk.kept.asked.wait()
    calling.cancel()
    await asyncio.sleep(0)
    desk.kept.may_write.set()
    await asyncio.wait([calling])

    assert [Usage()] == [entry.usage for entry in desk.heard.entries]


async def told_and_ended(desk: Desk, seconds: float) -> tuple[Told, Entry]:
    """What the ledger was told of a good answer, and the entry of its call, which ends so much later."""
    async with desk.ledger.line(CALL) as line:
        line.endpoint, line.ask = CHAT, ASK
        line.begun_by(CALLER)
        async with line.asking():
            line.meter = Meter(Usage(20, 5))
            await done(line.tells_all(200, 10))
            told = desk.kept.steps[-1]
            desk.clock.seconds += seconds
            line.began(200)
            line.sends(10)
    (entry,) = desk.heard.entries
    assert isinstance(told, Told)
    return told, entry


async def test_before_the_last_of_an_answer_the_ledger_has_all_of_it(desk: Desk) -> None:
    told, entry = await told_and_ended(desk, 2.0)

    assert (Outcome.SERVED, 200, Usage(20, 5)) == (told.entry.outcome, told.entry.status, told.entry.usage)
    assert Done("c1", 10, 2.0, 2.0) == desk.kept.steps[-1]
    assert [replace(entry, gpu_seconds=told.entry.gpu_seconds)] == desk.kept.entries


async def test_who_hears_of_an_end_a_moment_after_the_last_words_hears_what_the_ledger_was_told(desk: Desk) -> None:
    told, entry = await told_and_ended(desk, 0.0005)

    assert told.entry is entry
    assert Done("c1", 10, entry.first_byte_seconds, entry.total_seconds) == desk.kept.steps[-1]


async def test_an_end_that_is_not_as_it_was_told_is_told_again(desk: Desk) -> None:
    async def happens(line: Line) -> None:
        line.ask = ASK
        line.begun_by(CALLER)
        async with line.asking():
            line.meter = Meter(Usage(20, 5))
            await done(line.tells_all(200, 10))
            raise ClientGone

    await desk.one(happens)

    assert [Outcome.CLIENT_LEFT] == [entry.outcome for entry in desk.kept.entries]
    assert desk.heard.entries == desk.kept.entries


async def test_what_calls_under_way_have_cost_so_far_is_told_from_time_to_time(desk: Desk) -> None:
    turns = asyncio.Semaphore(0)

    async def pause(seconds: float) -> None:
        await turns.acquire()

    watching = asyncio.create_task(desk.ledger.watch(pause))
    async with desk.ledger.line(CALL) as line, desk.ledger.line(replace(CALL, id="c2")):
        line.ask = ASK
        async with line.asking():
            line.meter = Meter(Usage(7, 400, exact=False))
            turns.release()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    watching.cancel()
    told = [step.entry for step in desk.kept.steps if isinstance(step, Told)]

    assert [("c1", Usage(7, exact=False)), ("c1", Usage(7, 400, exact=False))] == [(one.id, one.usage) for one in told]


async def test_while_there_is_no_room_no_call_begins_and_none_leaves_a_line(desk: Desk) -> None:
    desk.kept.full = True
    with pytest.raises(errors.LedgerFull):
        async with desk.ledger.line(CALL):
            pytest.fail("It began.")

    assert ([], [], 1) == (desk.kept.steps, desk.heard.entries, desk.ledger.refused)


async def test_while_no_key_can_be_looked_up_nobody_leaves_a_line(desk: Desk) -> None:
    with pytest.raises(errors.StorageFailed):
        async with desk.ledger.line(CALL):
            raise errors.StorageFailed

    assert ([], [], 1) == (desk.kept.steps, desk.heard.entries, desk.ledger.refused)


async def test_who_tells_what_it_cost_before_the_last_word_has_it_in_the_ledger_before_the_client_hears(
    desk: Desk,
) -> None:
    async with desk.ledger.line(CALL) as line:
        line.ask = ASK
        line.begun_by(CALLER)
        async with line.asking():
            line.meter = Meter(Usage(20, 5))
            await done(line.tells(200))
            told = desk.kept.steps[-1]

    assert isinstance(told, Told)
    assert (Outcome.LOST, Usage(20, 5)) == (told.entry.outcome, told.entry.usage)


async def test_a_floor_is_never_above_what_the_model_can_hold(desk: Desk) -> None:
    async def happens(line: Line) -> None:
        line.ask = ASK
        async with line.asking():
            line.meter, line.most_prompt = Meter(Usage(40_000, 5, exact=False)), 4096
            raise ClientGone

    assert Usage(4096, 5, exact=False) == (await desk.one(happens)).usage


class Prompts:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.given: list[tuple[str, float, bytes | None]] = []

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
        self.given.append((call_id, keep_seconds, body))


@pytest.mark.parametrize("kept_seconds", [None, 3600.0])
async def test_a_prompt_is_kept_where_the_plan_says_so_and_the_caller_is_told(kept_seconds: float | None) -> None:
    prompts, told = Prompts(), dict[str, str]()
    ledger = Ledger(Kept(), [], FakeClock(), prompts=prompts)
    async with ledger.line(CALL) as line:
        line.ask = replace(ASK, fields={"model": b'"m"'})
        line.begun_by(replace(CALLER, plan=Plan("default", log_prompts=kept_seconds)))
        async with line.asking(told.update):
            pass

    assert ({"X-Llamagate-Prompt-Logged": "1h"} if kept_seconds else {}) == told
    assert ([("c1", 3600.0, b'{"model":"m"}')] if kept_seconds else []) == prompts.given


async def test_an_owner_may_want_calls_without_room_for_their_lines() -> None:
    kept = Kept()
    kept.full = True
    ledger = Ledger(kept, [], FakeClock(), required=False)
    async with ledger.line(CALL):
        pass

    assert (1, 1, 0) == (len(kept.entries), ledger.unsure, ledger.refused)


async def test_every_entry_has_its_costs_and_every_address_veiled_before_it_is_kept_or_heard_of() -> None:
    kept, heard = Kept(), Heard()
    ledger = Ledger(kept, [heard], FakeClock(), costs=lambda *_: Costs(1.5), veil="veiled {}".format)
    async with ledger.line(CALL) as line:
        line.begun_by(CALLER)
        async with line.asking():
            pass

    assert ["veiled 127.0.0.1"] == [step.peer for step in kept.steps if isinstance(step, Running)]
    assert [1.5] == [entry.cost for entry in kept.entries]
    assert ["veiled 127.0.0.1"] == [entry.peer for entry in kept.entries]
    assert kept.entries == heard.entries


async def test_a_call_that_the_gate_ends_hears_of_it_where_it_is(desk: Desk) -> None:
    inside = asyncio.Event()

    async def call() -> None:
        async with desk.ledger.line(CALL) as line:
            line.began(200)
            try:
                async with line.stoppable():
                    inside.set()
                    await asyncio.Event().wait()
            except GateStopping:
                await asyncio.sleep(0)  # There is time to say so: it is told once.
                raise

    task = asyncio.create_task(call())
    await inside.wait()
    desk.ledger.stop()
    with pytest.raises(GateStopping):
        await task
    (entry,) = desk.kept.entries

    assert (Outcome.GATE_FAILED, 200, "gate_stopping") == (entry.outcome, entry.status, entry.reason)


async def test_a_call_that_begins_while_the_gate_ends_is_refused(desk: Desk) -> None:
    desk.ledger.stop()
    with pytest.raises(GateStopping):
        async with desk.ledger.line(CALL):
            pytest.fail("it was let in")

    assert [503] == [entry.status for entry in desk.kept.entries]


async def test_somebody_elses_impatience_is_not_the_gates_end(desk: Desk) -> None:
    with pytest.raises(TimeoutError):
        async with desk.ledger.line(CALL) as line, line.stoppable():
            raise TimeoutError


async def test_a_client_that_leaves_is_not_taken_for_the_gates_end(desk: Desk) -> None:
    inside = asyncio.Event()

    async def call() -> None:
        async with desk.ledger.line(CALL) as line, line.stoppable():
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [Outcome.CLIENT_LEFT] == [entry.outcome for entry in desk.kept.entries]
