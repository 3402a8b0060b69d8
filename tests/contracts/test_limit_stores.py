"""One suite over both stores, which must agree to the last unit with each other, and with a model that is plain.

Redis is real; only its clock is moved by hand, by a few lines of Lua in place of those that ask it for the time.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.config.redis_url import redis_address
from proxy.limits import Account, Claim, Cost, Decision, State, Store
from proxy.limits.bucket import UNITS
from proxy.limits.memory import MemoryStore
from proxy.limits.redis.link import Link
from proxy.limits.redis.store import RedisStore
from proxy.limits.verdict import standings
from proxy.vocabulary import Level, Limits
from tests.fakes.moments import FakeMoments, micros
from tests.fakes.redis import RedisServer

SECOND = 1_000_000
NOON = datetime(2035, 3, 1, 12, 0, tzinfo=UTC)
"""Later than any clock of ours: what Redis forgets by itself it forgets by its own."""
CLOCK = "local function now_of() return tonumber(redis.call('GET', 'now')) end"


@dataclass
class Kept:
    """A store, its clock, and what makes it catch up with what it does in the background."""

    store: Store
    clock: FakeMoments
    settled: Callable[[], Awaitable[None]]
    tick: Callable[[], Awaitable[None]]
    """The clock has been moved."""
    claims: Iterator[str] = field(default_factory=lambda: map("c{}".format, range(10**9)))

    async def ask(self, *accounts: Account, tokens: int = 0, least: int = 0) -> tuple[Claim, Decision]:
        claim = Claim(next(self.claims), accounts, tokens, least)
        return claim, await self.store.reserve(claim)

    async def settle(self, claim: Claim, tokens: int = 0, gpu_ms: int = 0) -> None:
        self.store.settle(claim, Cost(tokens, gpu_ms))
        await self.settled()

    async def state(self, account: Account) -> State:
        (state,) = (await self.store.look([account]))[1]
        return state

    async def move(self, seconds: float) -> None:
        self.clock.move(seconds)
        await self.tick()


async def nothing() -> None:
    pass


@asynccontextmanager
async def in_memory() -> AsyncIterator[Kept]:
    clock = FakeMoments(NOON, micros(NOON))
    yield Kept(MemoryStore(clock), clock, nothing, nothing)


@asynccontextmanager
async def in_redis(server: RedisServer) -> AsyncIterator[Kept]:
    clock = FakeMoments(NOON, micros(NOON))
    store = RedisStore(Link.to(redis_address(server.url), timeout=5.0), lambda: clock.steady, gate="g1", clock=CLOCK)
    with server.client() as plain:

        async def tick() -> None:
            plain.set("now", clock.steady)
            await store.renew()

        async def settled() -> None:
            await store.catch_up()

        plain.flushall()
        await tick()
        try:
            yield Kept(store, clock, settled, tick)
        finally:
            await store.close()


@pytest.fixture(params=["memory", "redis"])
async def kept(request: pytest.FixtureRequest) -> AsyncIterator[Kept]:
    opened = in_memory() if request.param == "memory" else in_redis(request.getfixturevalue("redis_server"))
    async with opened as kept:
        yield kept


def account(level: Level = Level.KEY, subject: str = "k1", place: str = "user alice", **limits: Any) -> Account:
    return Account(level, subject, Limits(**limits), place)


async def test_as_many_pass_as_fit_at_once_and_one_more_for_each_that_ran_off(kept: Kept) -> None:
    key = account(requests_per_minute=60, request_burst=3)
    at_once = [(await kept.ask(key))[1].admitted for _ in range(5)]
    await kept.move(1.999999)
    later = [(await kept.ask(key))[1].admitted for _ in range(2)]
    await kept.move(0.000001)
    exactly = [(await kept.ask(key))[1].admitted for _ in range(2)]

    assert [True, True, True, False, False] == at_once
    assert [True, False] == later
    assert [True, False] == exactly


async def test_two_hundred_at_once_are_as_many_as_the_burst_allows(kept: Kept) -> None:
    key = account(requests_per_minute=1, request_burst=10)
    told = await asyncio.gather(*[kept.ask(key) for _ in range(200)])

    assert 10 == sum(decision.admitted for _, decision in told)


async def test_one_account_that_refuses_is_enough_and_the_others_are_left_alone(kept: Kept) -> None:
    key, team = account(requests_per_minute=10, tokens_per_day=100), account(Level.TEAM, "lab", concurrent=1)
    _, first = await kept.ask(key, team, tokens=10)
    _, second = await kept.ask(key, team, tokens=10)

    assert (True, False) == (first.admitted, second.admitted)
    assert State(1 * UNITS, concurrent=1, day_tokens=10) == await kept.state(key)


async def test_the_estimate_is_charged_first_and_then_the_truth(kept: Kept) -> None:
    key = account(tokens_per_minute=1000, tokens_per_day=5000, tokens_per_month=9000, gpu_seconds_per_day=60)
    claim, _ = await kept.ask(key, tokens=400)
    reserved = await kept.state(key)
    await kept.settle(claim, tokens=150, gpu_ms=2500)

    assert State(0, 400 * UNITS, 1, 400, 400, 0) == reserved
    assert State(0, 150 * UNITS, 0, 150, 150, 2500) == await kept.state(key)


async def test_what_cost_more_than_its_estimate_is_owed(kept: Kept) -> None:
    key = account(tokens_per_minute=100, tokens_per_day=100)
    claim, _ = await kept.ask(key, tokens=60)
    await kept.settle(claim, tokens=160)
    state = await kept.state(key)
    _, decision = await kept.ask(key, tokens=1)

    assert State(0, 160 * UNITS, 0, 160, 0, 0) == state
    assert not decision.admitted


async def test_a_call_is_settled_once(kept: Kept) -> None:
    key = account(tokens_per_day=1000, concurrent=2)
    first, _ = await kept.ask(key, tokens=100)
    await kept.ask(key, tokens=100)
    for _ in range(3):
        await kept.settle(first, tokens=30)

    assert State(concurrent=1, day_tokens=130) == await kept.state(key)


async def test_a_place_is_free_again_when_its_call_has_ended(kept: Kept) -> None:
    key = account(concurrent=1)
    claim, _ = await kept.ask(key)
    _, meanwhile = await kept.ask(key)
    await kept.settle(claim)
    _, afterwards = await kept.ask(key)

    assert (False, True) == (meanwhile.admitted, afterwards.admitted)


async def test_a_day_ends_at_midnight_of_its_zone(kept: Kept) -> None:
    berlin = replace(account(tokens_per_day=100), time_zone="Europe/Berlin")
    await kept.ask(berlin, tokens=100)
    kept.clock.move_to(datetime(2035, 3, 1, 22, 59, 59, tzinfo=UTC))
    await kept.tick()
    _, before = await kept.ask(berlin, tokens=1)
    await kept.move(1)
    _, after = await kept.ask(berlin, tokens=1)

    assert (False, True) == (before.admitted, after.admitted)


async def test_what_a_call_of_yesterday_cost_is_not_of_today(kept: Kept) -> None:
    key = account(tokens_per_day=100, tokens_per_month=1000)
    claim, _ = await kept.ask(key, tokens=100)
    for _ in range(24):  # A lease has to be renewed meanwhile.
        await kept.move(1800)
    await kept.ask(key, tokens=10)
    await kept.settle(claim, tokens=70)

    assert State(concurrent=1, day_tokens=10, month_tokens=80) == await kept.state(key)


async def test_two_plans_in_different_zones_do_not_begin_the_day_twice(kept: Kept) -> None:
    here = account(Level.USER, "alice", tokens_per_day=100)
    there = replace(here, time_zone="Pacific/Auckland")
    await kept.ask(here, tokens=60)
    await kept.ask(there, tokens=40)
    told = [(await kept.ask(one, tokens=1))[1].admitted for one in (here, there, here)]

    assert [False, False, False] == told


async def test_another_limit_neither_forgives_nor_doubles_what_was_used(kept: Kept) -> None:
    key = account(requests_per_minute=10, tokens_per_day=100)
    for _ in range(8):
        await kept.ask(key, tokens=10)
    tighter = account(requests_per_minute=5, tokens_per_day=50)
    looser = account(requests_per_minute=20, tokens_per_day=200)
    refused = (await kept.ask(tighter, tokens=1))[1].admitted
    told = [(await kept.ask(looser, tokens=10))[1].admitted for _ in range(13)]

    assert not refused
    assert [True] * 12 + [False] == told


async def test_one_in_shadow_takes_no_part_where_it_would_refuse(kept: Kept) -> None:
    shadow, key = replace(account(Level.TEAM, "lab", concurrent=1), shadow=True), account(concurrent=5)
    first, _ = await kept.ask(shadow, key)
    second, decision = await kept.ask(shadow, key)
    await kept.tick()
    states = (await kept.state(shadow), await kept.state(key))
    await kept.settle(second)
    await kept.settle(first)

    assert decision.admitted
    assert (1, 2) == (states[0].concurrent, states[1].concurrent)
    assert (0, 0) == ((await kept.state(shadow)).concurrent, (await kept.state(key)).concurrent)


async def test_a_reset_forgives_all_but_what_calls_under_way_have_set_aside(kept: Kept) -> None:
    key = account(requests_per_minute=10, tokens_per_minute=1000, tokens_per_day=1000, gpu_seconds_per_day=10)
    done, _ = await kept.ask(key, tokens=300)
    await kept.settle(done, tokens=300, gpu_ms=4000)
    running, _ = await kept.ask(key, tokens=200)
    await kept.store.reset([key])
    state = await kept.state(key)
    await kept.settle(running, tokens=50)

    assert State(0, 200 * UNITS, 1, 200, 0, 0) == state
    assert State(0, 50 * UNITS, 0, 50, 0, 0) == await kept.state(key)


async def test_who_has_any_of_the_gpu_left_may_begin(kept: Kept) -> None:
    key = account(gpu_seconds_per_day=1.5)
    claim, first = await kept.ask(key)
    await kept.settle(claim, gpu_ms=1499)
    claim, second = await kept.ask(key)
    await kept.settle(claim, gpu_ms=9000)
    _, third = await kept.ask(key)

    assert (True, True, False) == (first.admitted, second.admitted, third.admitted)


async def test_a_clock_that_was_astray_locks_nobody_out(kept: Kept) -> None:
    key = account(tokens_per_day=100, requests_per_minute=60, request_burst=1)
    kept.clock.move(400 * 86400)
    await kept.tick()
    await kept.ask(key, tokens=100)
    kept.clock.move(-400 * 86400)
    await kept.tick()
    _, decision = await kept.ask(account(tokens_per_day=100), tokens=100)
    await kept.ask(key)
    await kept.move(1)
    _, later = await kept.ask(account(requests_per_minute=60, request_burst=1))

    assert decision.admitted
    assert later.admitted


async def test_the_largest_amounts_are_counted_to_the_last_unit(kept: Kept) -> None:
    most = 10**8
    key = account(requests_per_minute=most, tokens_per_minute=most, tokens_per_day=10**12)
    claim, decision = await kept.ask(key, tokens=most)
    full = await kept.state(key)
    await kept.move(0.000001)
    bit = await kept.state(key)
    await kept.settle(claim, tokens=most - 1)

    assert decision.admitted
    assert most * UNITS == full.tokens
    assert full.tokens - most == bit.tokens
    assert most * UNITS - most - UNITS == (await kept.state(key)).tokens


class Model:
    """What both must do, in numbers that need no rounding, and as plainly as it can be said. One account."""

    def __init__(self) -> None:
        self.now, self.requests, self.tokens, self.day = 0, Fraction(), Fraction(), 0
        self.live: dict[str, int] = {}

    def reserve(self, claim: str, limits: Limits, most: int) -> bool:
        rate, tokens = limits.requests_per_minute or 1, limits.tokens_per_minute or 1
        if (
            self.requests + 1 > (limits.request_burst or rate)
            or self.tokens + most > (limits.token_burst or tokens)
            or self.day + most > (limits.tokens_per_day or 0)
            or len(self.live) >= (limits.concurrent or 0)
        ):
            return False
        self.requests, self.tokens, self.day = self.requests + 1, self.tokens + most, self.day + most
        self.live[claim] = most
        return True

    def settle(self, claim: str, cost: int) -> None:
        if (most := self.live.pop(claim, None)) is not None:
            self.tokens, self.day = max(Fraction(), self.tokens + cost - most), max(0, self.day + cost - most)

    def move(self, micros: int, limits: Limits) -> None:
        gone = Fraction(micros, UNITS)
        self.requests = max(Fraction(), self.requests - gone * (limits.requests_per_minute or 0))
        self.tokens = max(Fraction(), self.tokens - gone * (limits.tokens_per_minute or 0))

    @property
    def state(self) -> State:
        return State(int(self.requests * UNITS), int(self.tokens * UNITS), len(self.live), self.day, 0, 0)


amounts = st.builds(
    Limits,
    requests_per_minute=st.integers(1, 120),
    request_burst=st.none() | st.integers(1, 20),
    tokens_per_minute=st.integers(1, 5000),
    token_burst=st.none() | st.integers(1, 5000),
    concurrent=st.integers(1, 8),
    tokens_per_day=st.integers(1, 20000),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 3000)),
        st.tuples(st.just("ask"), st.integers(0, 50)),
        st.tuples(st.just("settle"), st.integers(0, 3000)),
        st.tuples(st.just("move"), st.integers(0, 30_000_000)),
    ),
    max_size=25,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(first=amounts, then=amounts, steps=steps)
@pytest.mark.parametrize("where", ["memory", "redis"])
def test_both_stores_do_as_the_model_does(
    redis_server: RedisServer, where: str, first: Limits, then: Limits, steps: list[tuple[str, int]]
) -> None:
    # How fast things run off stays the same: a change of that holds from when the account is next written to.
    then = replace(then, requests_per_minute=first.requests_per_minute, tokens_per_minute=first.tokens_per_minute)

    async def scenario() -> None:
        model, claims = Model(), list[Claim]()
        async with in_memory() if where == "memory" else in_redis(redis_server) as kept:
            for number, (what, amount) in enumerate(steps):
                key = Account(Level.KEY, "k1", first if number < len(steps) // 2 else then, "user alice")
                match what:
                    case "ask":
                        before = model.state
                        claim, decision = await kept.ask(key, tokens=amount)
                        waits = [one.wait for one in standings(key, before, decision.moment, claim)]
                        admitted = model.reserve(claim.id, key.limits, amount)

                        assert (admitted, (before,)) == (decision.admitted, decision.states)
                        assert admitted == (set(waits) == {0})
                        claims += [claim] * admitted
                    case "settle" if claims:
                        claim = claims.pop(amount % len(claims))
                        model.settle(claim.id, amount)
                        await kept.settle(claim, tokens=amount)
                    case "move":
                        model.move(amount, key.limits)
                        await kept.move(amount / SECOND)
                state = await kept.state(key)

                assert model.state == state
                assert min(state) >= 0

    asyncio.run(scenario())
