import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from proxy.errors import Forbidden, GateError, NeverFits, PromptNeverFits, RateLimited
from proxy.limits import Account, Claim, Cost, Decision, Moment, State, StoreFailed
from proxy.limits.limiter import BUSY, Admission, Limiter
from proxy.limits.memory import MemoryStore
from proxy.policy.endpoints import find
from proxy.vocabulary import Allowance, Ask, Caller, Level, Limits, Plan, Tongue, Usage
from tests.fakes.moments import FakeMoments

SECOND = 1_000_000
HOUR = 3600 * SECOND
ASK = Ask(find("POST", "/api/chat")[0], model="llama3.2:1b", most_tokens=60, prompt_floor=5)


class Watched:
    """A ``Store`` over another one: remembers what it is asked, can be held up, and fails when it is told to."""

    def __init__(self, clock: FakeMoments | None = None) -> None:
        self.kept = MemoryStore(clock or FakeMoments())
        self.claims: list[Claim] = []
        self.settled: list[tuple[str, Cost]] = []
        self.looks = 0
        self.fails = False
        self.is_asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.may_answer.set()

    async def reserve(self, claim: Claim) -> Decision:
        self.claims.append(claim)
        self.is_asked.set()
        await self.may_answer.wait()
        if self.fails:
            raise StoreFailed
        return await self.kept.reserve(claim)

    def settle(self, claim: Claim, cost: Cost) -> None:
        self.settled.append((claim.id, cost))
        self.kept.settle(claim, cost)

    async def look(self, accounts: Sequence[Account]) -> tuple[Moment, tuple[State, ...]]:
        self.looks += 1
        if self.fails:
            raise StoreFailed
        return await self.kept.look(accounts)

    async def reset(self, accounts: Sequence[Account]) -> None:
        raise AssertionError(accounts)


class Gate:
    """A limiter, and what its callers are told."""

    def __init__(self, store: Watched | None = None) -> None:
        self.store = store or Watched()
        numbers = iter(range(1, 1000))
        self.limiter = Limiter(
            self.store, lambda pattern, model: model.startswith(pattern), lambda: f"c{next(numbers)}"
        )
        self.told: dict[str, str] = {}

    @asynccontextmanager
    async def call(self, caller: Caller, ask: Ask = ASK, tongue: Tongue = Tongue.OLLAMA) -> AsyncIterator[Admission]:
        self.told = {}
        async with self.limiter.telling(caller, tongue, self._tell) as turnstile, turnstile.admit(ask) as admission:
            yield admission

    async def done(
        self,
        caller: Caller,
        usage: Usage,
        gpu_seconds: float = 0.0,
        ask: Ask = ASK,
        ends: type[BaseException] | None = None,
    ) -> None:
        async with self.call(caller, ask) as admission:
            admission.settle(usage, gpu_seconds)
            if ends is not None:
                raise ends

    async def refusal(self, caller: Caller, ask: Ask = ASK) -> GateError:
        with pytest.raises(GateError) as raised:
            await self.done(caller, Usage(), ask=ask)
        return raised.value

    def _tell(self, fields: Mapping[str, str]) -> None:
        self.told.update(fields)


def under(*allowances: Allowance, team: str | None = "lab") -> Caller:
    return Caller("alice", "k1", Plan("default", allowances=allowances), team=team)


def limited(level: Level = Level.KEY, *, models: str = "", shadow: bool = False, **limits: Any) -> Caller:
    return under(Allowance(level, Limits(**limits), models, shadow))


@pytest.mark.parametrize(
    ("limits", "message", "wait", "counts", "reason"),
    [
        (
            {"requests_per_minute": 1, "request_burst": 2},
            "Limit reached of this key: 1 requests per minute, 2 at once. Try again in 1m0s.",
            60 * SECOND,
            "requests",
            "key-requests",
        ),
        (
            {"tokens_per_minute": 60, "token_burst": 120},
            "Limit reached of this key: 60 tokens per minute, 120 at once. Try again in 1m0s.",
            60 * SECOND,
            "tokens",
            "key-tokens",
        ),
        (
            {"concurrent": 2},
            "Limit reached of this key: 2 calls at the same time. Try again when one of them has ended.",
            SECOND,
            "requests",
            "key-concurrent",
        ),
        (
            {"tokens_per_day": 179},
            "Limit reached of this key: 179 tokens per day. Try again in 12h0m0s.",
            12 * HOUR,
            "tokens",
            "key-tokens-day",
        ),
        (
            {"tokens_per_month": 179},
            "Limit reached of this key: 179 tokens per month. Try again in 732h0m0s.",
            732 * HOUR,
            "tokens",
            "key-tokens-month",
        ),
    ],
)
async def test_who_is_over_a_limit_is_told_which_and_when_to_come_back(
    limits: dict[str, Any], message: str, wait: int, counts: str, reason: str
) -> None:
    gate, caller = Gate(), limited(**limits)
    async with gate.call(caller), gate.call(caller):
        error = await gate.refusal(caller)

    assert isinstance(error, RateLimited)
    assert (429, "rate_limit_exceeded", message) == (error.status, error.code, error.message)
    assert (wait, counts, reason) == (error.wait, error.counts, error.reason)
    assert {"refused": 1} == gate.limiter.counts


async def test_who_has_had_the_gpu_for_long_enough_is_told_so() -> None:
    gate, caller = Gate(), limited(gpu_seconds_per_day=1.5)
    await gate.done(caller, Usage(), 1.4994)
    await gate.done(caller, Usage(), 9)
    error = await gate.refusal(caller)

    assert "Limit reached of this key: 1.5 seconds of the GPU per day. Try again in 12h0m0s." == error.message
    assert ("tokens", "key-gpu-day") == (error.counts, error.reason)


@pytest.mark.parametrize(
    ("level", "models", "begins"),
    [
        (Level.KEY, "llama", "Limit reached of this key for this model: "),
        (Level.USER, "", "Limit reached of this user: "),
        (Level.TEAM, "", "Limit reached of this team: "),
        (Level.EVERYBODY, "", "Limit reached of everybody on this gate together: "),
    ],
)
async def test_a_refusal_says_whose_limit_it_was(level: Level, models: str, begins: str) -> None:
    gate, caller = Gate(), limited(level, models=models, concurrent=1)
    async with gate.call(caller):
        error = await gate.refusal(caller)

    assert error.message.startswith(begins)
    assert f"{level}-concurrent" == error.reason


@pytest.mark.parametrize(
    ("limits", "reason", "wait"),
    [
        ({"requests_per_minute": 1, "tokens_per_minute": 60, "tokens_per_day": 60}, "key-tokens-day", 12 * HOUR),
        ({"requests_per_minute": 4, "request_burst": 1, "tokens_per_minute": 60}, "key-tokens", 60 * SECOND),
        ({"requests_per_minute": 1, "tokens_per_minute": 240, "token_burst": 60}, "key-requests", 60 * SECOND),
        ({"requests_per_minute": 1, "concurrent": 1}, "key-requests", 60 * SECOND),
        ({"requests_per_minute": 120, "request_burst": 1, "concurrent": 1}, "key-concurrent", BUSY),
    ],
)
async def test_of_several_limits_the_one_that_takes_longest_decides(
    limits: dict[str, Any], reason: str, wait: int
) -> None:
    gate, caller = Gate(), limited(**limits)
    async with gate.call(caller):
        error = await gate.refusal(caller)

    assert isinstance(error, RateLimited)
    assert (reason, wait) == (error.reason, error.wait)


async def test_a_limit_of_another_account_can_be_the_one_that_decides() -> None:
    gate = Gate()
    caller = under(
        Allowance(Level.KEY, Limits(requests_per_minute=1)),
        Allowance(Level.USER, Limits(tokens_per_day=60), shadow=True),
        Allowance(Level.EVERYBODY, Limits(tokens_per_day=60)),
    )
    async with gate.call(caller):
        assert "everybody-tokens-day" == (await gate.refusal(caller)).reason


async def test_after_the_wait_the_call_gets_in() -> None:
    clock = FakeMoments()
    gate, caller = Gate(Watched(clock)), limited(requests_per_minute=7)
    for _ in range(7):
        await gate.done(caller, Usage())
    error = await gate.refusal(caller)

    assert isinstance(error, RateLimited)
    clock.steady += error.wait - 1

    assert isinstance(await gate.refusal(caller), RateLimited)
    clock.steady += 1
    await gate.done(caller, Usage())


async def test_a_call_that_never_fits_is_told_what_would() -> None:
    gate, caller = Gate(), limited(tokens_per_minute=100, tokens_per_day=50)
    error = await gate.refusal(caller, replace(ASK, prompt_most=20))

    assert isinstance(error, NeverFits)
    assert (400, "tokens_exceed_limit") == (error.status, error.code)
    assert (
        "The prompt has about 20 tokens and the answer may have 40; the limits allow 50 for both."
        " Ask for an answer of at most 30 tokens."
    ) == error.message
    assert ([], []) == (gate.store.claims, gate.store.settled)
    assert "50" == gate.told["x-ratelimit-remaining-tokens"]


@pytest.mark.parametrize("prompt", [50, 60])
async def test_a_prompt_that_alone_never_fits_is_too_large(prompt: int) -> None:
    gate, caller = Gate(), limited(tokens_per_month=50)
    error = await gate.refusal(caller, replace(ASK, prompt_most=prompt))

    assert isinstance(error, PromptNeverFits)
    assert (413, "prompt_exceeds_limit") == (error.status, error.code)
    assert f"The prompt has about {prompt} tokens; the limits allow 50 for a call. Shorten it." == error.message
    assert [] == gate.store.claims
    assert "50" == gate.told["x-ratelimit-remaining-tokens"]


async def test_what_just_fits_is_let_in() -> None:
    gate = Gate()
    await gate.done(limited(tokens_per_minute=60, tokens_per_day=60, tokens_per_month=60), Usage())

    assert 1 == len(gate.store.claims)


async def test_a_limit_in_shadow_is_never_too_small(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    await gate.done(limited(shadow=True, tokens_per_day=10), Usage())

    assert ["limit_shadowed"] == [record.message for record in caplog.records]


async def test_a_limit_for_other_models_does_not_count() -> None:
    gate = Gate()
    caller = limited(models="mistral", tokens_per_day=10, concurrent=1)
    async with gate.call(caller), gate.call(caller):
        pass

    assert [] == gate.store.claims
    assert {} == gate.told


async def test_a_claim_says_what_the_call_may_cost_and_what_it_costs_at_the_least() -> None:
    gate = Gate()
    caller = under(Allowance(Level.KEY, Limits(concurrent=2)), Allowance(Level.TEAM, Limits(concurrent=3)))
    async with gate.call(caller), gate.call(caller):
        pass
    accounts = (
        Account(Level.KEY, "k1", Limits(concurrent=2), "team lab"),
        Account(Level.TEAM, "lab", Limits(concurrent=3), "team lab"),
    )

    assert [Claim("c1", accounts, 60, 5), Claim("c2", accounts, 60, 5)] == gate.store.claims


async def test_a_call_that_gets_in_is_told_what_it_leaves() -> None:
    gate, caller = Gate(), limited(requests_per_minute=10, tokens_per_minute=100, concurrent=3)
    async with gate.call(caller):
        assert ("9", "40") == (gate.told["x-ratelimit-remaining-requests"], gate.told["x-ratelimit-remaining-tokens"])
        assert '"key-requests";r=9;t=6, "key-tokens";r=40;t=36, "key-concurrent";r=2' == gate.told["RateLimit"]
    assert 0 == gate.store.looks


async def test_a_call_that_is_refused_is_told_how_things_stand_without_it() -> None:
    gate, caller = Gate(), limited(requests_per_minute=10, tokens_per_minute=100)
    async with gate.call(caller):
        assert isinstance(await gate.refusal(caller), RateLimited)

    assert ("9", "40") == (gate.told["x-ratelimit-remaining-requests"], gate.told["x-ratelimit-remaining-tokens"])
    assert 0 == gate.store.looks


@pytest.mark.parametrize("tongue", Tongue)
async def test_each_is_told_in_their_own_tongue(tongue: Tongue) -> None:
    gate = Gate()
    async with gate.call(limited(requests_per_minute=10), tongue=tongue):
        pass

    assert (tongue is Tongue.ANTHROPIC) == ("anthropic-ratelimit-requests-remaining" in gate.told)


async def test_an_error_before_the_turnstile_is_told_with_how_things_stand() -> None:
    gate = Gate()
    caller = under(
        Allowance(Level.KEY, Limits(requests_per_minute=10)), Allowance(Level.KEY, Limits(concurrent=1), "llama")
    )
    await gate.done(caller, Usage())
    told: dict[str, str] = {}
    with pytest.raises(Forbidden):
        async with gate.limiter.telling(caller, Tongue.OLLAMA, told.update):
            raise Forbidden

    assert '"key-requests";r=9;t=6' == told["RateLimit"]
    assert (1, 1, 1) == (gate.store.looks, len(gate.store.claims), len(gate.store.settled))


async def test_an_error_behind_the_turnstile_is_told_with_what_was_told_there() -> None:
    gate, caller = Gate(), limited(requests_per_minute=10)
    with pytest.raises(Forbidden):
        async with gate.call(caller):
            raise Forbidden

    assert "9" == gate.told["x-ratelimit-remaining-requests"]
    assert 0 == gate.store.looks


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
async def test_nobody_is_told_anything_where_nobody_refused(error: type[BaseException]) -> None:
    gate = Gate()
    with pytest.raises(error):
        async with gate.limiter.telling(limited(concurrent=1), Tongue.OLLAMA, gate.told.update):
            raise error

    assert ({}, 0) == (gate.told, gate.store.looks)


async def test_an_error_stays_itself_where_the_store_cannot_be_looked_at() -> None:
    gate = Gate()
    gate.store.fails = True
    with pytest.raises(Forbidden):
        async with gate.limiter.telling(limited(concurrent=1), Tongue.OLLAMA, gate.told.update):
            raise Forbidden

    assert {} == gate.told


async def test_where_the_store_fails_the_call_fails_and_nothing_is_settled() -> None:
    gate = Gate()
    gate.store.fails = True
    error = await gate.refusal(limited(concurrent=1))

    assert isinstance(error, StoreFailed)
    assert (503, {"Retry-After": "1"}) == (error.status, error.headers)
    assert [] == gate.store.settled
    assert {} == gate.limiter.counts


async def test_a_limit_in_shadow_lets_pass_and_tells_the_log(caplog: pytest.LogCaptureFixture) -> None:
    gate, caller = Gate(), limited(Level.USER, models="llama", shadow=True, concurrent=1, requests_per_minute=1)
    async with gate.call(caller):
        assert [] == caplog.records
        async with gate.call(caller):
            pass

    assert [
        ("limit_shadowed", "user-requests", "llama", "alice", "k1"),
        ("limit_shadowed", "user-concurrent", "llama", "alice", "k1"),
    ] == [
        (record.message, *(vars(record)[name] for name in ("limit", "models", "user", "key_id")))
        for record in caplog.records
    ]
    assert {("proxy.limits", logging.WARNING)} == {(record.name, record.levelno) for record in caplog.records}
    assert {"shadowed": 2} == gate.limiter.counts
    assert {} == gate.told


async def test_a_limit_in_shadow_is_told_of_where_another_refuses_too(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    caller = under(
        Allowance(Level.USER, Limits(tokens_per_day=60), shadow=True), Allowance(Level.KEY, Limits(concurrent=1))
    )
    async with gate.call(caller):
        assert "key-concurrent" == (await gate.refusal(caller)).reason

    assert ["user-tokens-day"] == [vars(record)["limit"] for record in caplog.records]
    assert {"shadowed": 1, "refused": 1} == gate.limiter.counts


async def test_leaving_settles_what_the_call_did_cost() -> None:
    gate, caller = Gate(), limited(tokens_per_day=100)
    await gate.done(caller, Usage(7, 3), 1.2346)

    assert [("c1", Cost(10, 1235))] == gate.store.settled
    assert "90" == (await told_by_a_look(gate, caller))["x-ratelimit-remaining-tokens"]


async def told_by_a_look(gate: Gate, caller: Caller) -> dict[str, str]:
    told: dict[str, str] = {}
    with pytest.raises(Forbidden):
        async with gate.limiter.telling(caller, Tongue.OLLAMA, told.update):
            raise Forbidden
    return told


async def test_a_call_that_says_nothing_of_its_cost_has_cost_nothing() -> None:
    gate = Gate()
    async with gate.call(limited(concurrent=1)):
        pass

    assert [("c1", Cost())] == gate.store.settled
    assert 0 == gate.store.kept.under_way


@pytest.mark.parametrize("error", [Forbidden, RuntimeError, asyncio.CancelledError, GeneratorExit])
async def test_every_way_out_settles_once(error: type[BaseException]) -> None:
    gate = Gate()
    with pytest.raises(error):
        await gate.done(limited(concurrent=1), Usage(7, 3), 1, ends=error)

    assert [("c1", Cost(10, 1000))] == gate.store.settled
    assert 0 == gate.store.kept.under_way


async def test_a_call_that_is_refused_has_nothing_to_settle() -> None:
    gate, caller = Gate(), limited(concurrent=1)
    async with gate.call(caller):
        await gate.refusal(caller)

        assert [] == gate.store.settled
    assert [("c1", Cost())] == gate.store.settled


async def test_a_call_that_is_given_up_while_it_runs_gives_its_place_back() -> None:
    gate, caller = Gate(), limited(concurrent=1)
    runs, never = asyncio.Event(), asyncio.Event()

    async def call() -> None:
        async with gate.call(caller):
            runs.set()
            await never.wait()

    running = asyncio.create_task(call())
    async with asyncio.timeout(20):
        await runs.wait()

    assert isinstance(await gate.refusal(caller), RateLimited)
    running.cancel()
    await asyncio.wait([running])
    await gate.done(caller, Usage())

    assert running.cancelled()
    assert 0 == gate.store.kept.under_way


async def test_a_call_that_is_given_up_while_the_store_decides_holds_no_place() -> None:
    gate, caller = Gate(), limited(concurrent=1)
    gate.store.may_answer.clear()
    waiting = asyncio.create_task(gate.done(caller, Usage()))
    await gate.store.is_asked.wait()
    waiting.cancel()
    await asyncio.wait([waiting])
    gate.store.may_answer.set()

    assert waiting.cancelled()
    assert [] == gate.store.settled
    assert 0 == gate.store.kept.under_way == gate.store.looks
    await gate.done(caller, Usage())


async def test_a_call_that_is_given_up_just_when_the_store_has_decided_gives_its_place_back() -> None:
    gate, caller = Gate(), limited(concurrent=1)
    gate.store.may_answer.clear()
    runs = asyncio.Event()

    async def call() -> None:
        async with gate.call(caller):
            runs.set()
            await asyncio.Event().wait()

    waiting = asyncio.create_task(call())
    await gate.store.is_asked.wait()
    gate.store.may_answer.set()
    async with asyncio.timeout(20):
        await runs.wait()
    waiting.cancel()
    await asyncio.wait([waiting])

    assert [("c1", Cost())] == gate.store.settled
    assert 0 == gate.store.kept.under_way


async def test_however_many_come_together_no_more_than_are_allowed_get_in() -> None:
    gate, caller = Gate(), limited(concurrent=3)
    async with AsyncExitStack() as inside:
        entered = await asyncio.gather(
            *(inside.enter_async_context(gate.call(caller)) for _ in range(10)), return_exceptions=True
        )

        assert 3 == gate.store.kept.under_way
        assert [Admission] * 3 + [RateLimited] * 7 == [type(one) for one in entered]
    assert 0 == gate.store.kept.under_way


async def test_who_is_under_no_limit_touches_no_store() -> None:
    gate = Gate()
    gate.store.fails = True
    await gate.done(under(), Usage(10**9, 10**9), 10**6)
    with pytest.raises(Forbidden):
        async with gate.limiter.telling(under(), Tongue.OLLAMA, gate.told.update):
            raise Forbidden

    assert ([], [], 0) == (gate.store.claims, gate.store.settled, gate.store.looks)
    assert {} == gate.told


async def test_where_nobody_keeps_count_everybody_is_let_in_and_told_nothing() -> None:
    class Blind(Watched):
        async def reserve(self, claim: Claim) -> Decision:
            return Decision(True, Moment(0, 0), replace(claim, accounts=()))

    gate = Gate(Blind())
    await gate.done(limited(requests_per_minute=1), Usage())
    await gate.done(limited(requests_per_minute=1), Usage())

    assert {} == gate.told
    assert ["c1", "c2"] == [claim_id for claim_id, _ in gate.store.settled]


# What the gate answers itself.


async def test_the_gates_own_routes_take_nothing_of_any_limit_and_tell_what_is_left() -> None:
    caller = Caller("alice", "k1", Plan("p", allowances=(Allowance(Level.KEY, Limits(requests_per_minute=1)),)))
    gate, own = Gate(), Ask(find("GET", "/v1/key")[0])
    async with gate.call(caller):
        pass
    for _ in range(3):
        async with gate.call(caller, own, Tongue.OPENAI):
            assert "0" == gate.told["x-ratelimit-remaining-requests"]

    assert (["c1"], 3) == ([claim.id for claim in gate.store.claims], gate.store.looks)


async def test_the_gates_own_routes_are_answered_while_the_store_is_away() -> None:
    caller = Caller("alice", "k1", Plan("p", allowances=(Allowance(Level.KEY, Limits(requests_per_minute=1)),)))
    gate = Gate()
    gate.store.fails = True
    async with gate.call(caller, Ask(find("GET", "/v1/usage")[0])):
        assert {} == gate.told
    with pytest.raises(StoreFailed):
        await gate.limiter.standings(caller)


async def test_every_limit_of_a_caller_can_be_looked_at_those_of_some_models_too() -> None:
    rows = (
        Allowance(Level.KEY, Limits(requests_per_minute=2)),
        Allowance(Level.USER, Limits(concurrent=3), models="gemma"),
    )
    gate, caller = Gate(), Caller("alice", "k1", Plan("p", allowances=rows))
    async with gate.call(caller):
        told = await gate.limiter.standings(caller)

    assert [("key-requests", 1), ("user-concurrent", 3)] == [(one.name, one.left) for one in told]
    assert [] == await gate.limiter.standings(Caller("bob", "k2", Plan("p")))
