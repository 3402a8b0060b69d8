"""What only a store in Redis does. Its clock is moved by hand, see ``contracts.test_limit_stores``."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from proxy.bootstrap import clocks
from proxy.config.redis_url import redis_address
from proxy.limits import Claim, Cost, State, StoreFailed
from proxy.limits.bucket import UNITS
from proxy.limits.redis.link import Link, Script
from proxy.limits.redis.store import LEASE, MOST_UNSETTLED, VOID_AFTER, RedisStore
from proxy.vocabulary import Level, Limits
from tests.contracts.test_limit_stores import Kept, account, in_redis
from tests.fakes.redis import RedisNodes, RedisServer
from tests.fakes.redis_proxy import OpenProxy
from tests.limits.redis.test_patience import busy

SECOND = 1_000_000


@pytest.fixture
async def kept(redis_server: RedisServer) -> AsyncIterator[Kept]:
    async with in_redis(redis_server) as kept:
        yield kept


def store(kept: Kept) -> RedisStore:
    assert isinstance(kept.store, RedisStore)
    return kept.store


async def lapse(kept: Kept, redis_server: RedisServer) -> None:
    """A lease's length goes by in which nobody renews any."""
    kept.clock.move(LEASE / SECOND)
    redis_server.say("SET", "now", kept.clock.steady)


async def test_a_lease_that_nobody_renews_ends_and_its_call_is_charged_its_least(
    kept: Kept, redis_server: RedisServer
) -> None:
    key = account(concurrent=1, tokens_per_day=1000)
    claim, _ = await kept.ask(key, tokens=400, least=25)
    await lapse(kept, redis_server)
    seen = await kept.state(key)
    _, decision = await kept.ask(key, tokens=400)
    await kept.settle(claim, tokens=300)

    assert State(day_tokens=25) == seen
    assert decision.admitted
    assert State(concurrent=1, day_tokens=425) == await kept.state(key)


async def test_a_lease_that_is_renewed_goes_on(kept: Kept) -> None:
    key = account(concurrent=1)
    claim, _ = await kept.ask(key)
    for _ in range(5):
        await kept.move(LEASE / SECOND * 0.9)
    state = await kept.state(key)
    await kept.settle(claim)

    assert 1 == state.concurrent
    assert 0 == (await kept.state(key)).concurrent


async def test_a_lease_that_was_lost_with_everything_else_holds_a_place_again(
    kept: Kept, redis_server: RedisServer
) -> None:
    key = account(concurrent=1, tokens_per_day=1000)
    claim, _ = await kept.ask(key, tokens=400)
    now = redis_server.say("GET", "now")
    redis_server.say("FLUSHALL")
    redis_server.say("SET", "now", now)
    await kept.tick()
    held = await kept.state(key)
    await kept.settle(claim, tokens=100)

    assert State(concurrent=1) == held
    assert State() == await kept.state(key)


async def test_a_claim_for_which_nobody_waits_any_more_is_void(kept: Kept, redis_server: RedisServer) -> None:
    key = account(requests_per_minute=10)
    await kept.ask(key)
    redis_server.say("SET", "now", kept.clock.steady + VOID_AFTER + 1)  # It was on its way for too long …
    _, decision = await kept.ask(key)  # … and is asked anew, by the time that Redis has told.

    assert decision.admitted
    assert 2 * UNITS - (VOID_AFTER + 1) * 10 == (await kept.state(key)).requests


async def test_a_clock_that_disagrees_about_the_day_is_believed_and_nothing_is_lost(
    kept: Kept, redis_server: RedisServer
) -> None:
    key = account(tokens_per_day=100)
    await kept.ask(key, tokens=60)
    redis_server.say("SET", "now", kept.clock.steady + 86_400 * SECOND)
    _, tomorrow = await kept.ask(key, tokens=60)

    assert tomorrow.admitted
    assert (0,) == tuple(state.day_tokens for state in tomorrow.states)


async def test_what_was_not_heard_of_is_taken_back(kept: Kept, redis_server: RedisServer) -> None:
    key = account(requests_per_minute=10, tokens_per_day=1000, concurrent=3)
    redis_server.say("CONFIG", "RESETSTAT")
    asking = asyncio.create_task(kept.ask(key, tokens=100))
    while not redis_server.calls("hset"):  # noqa: ASYNC110 - set aside, and its answer still unread: for one turn only
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await store(kept).catch_up()
    before = store(kept).unsettled
    await kept.move(4)
    await store(kept).catch_up()

    assert (1, 0) == (before, store(kept).unsettled)
    assert State() == await kept.state(key)


async def test_nothing_is_kept_for_ever_and_no_name_is_kept_at_all(kept: Kept, redis_server: RedisServer) -> None:
    key = account(subject="CANARY{}", place="team CANARY", tokens_per_month=100, requests_per_minute=5)
    await kept.ask(key, account(Level.USER, "CANARY user", concurrent=4))
    await store(kept).pulse()
    names = [name for name in redis_server.say("KEYS", "*") if name != "now"]
    kept_there = [redis_server.say("HGETALL", name) for name in names if name.endswith(":b")]

    assert len(names) >= 4
    assert [] == [name for name in names if redis_server.say("PTTL", name) < 0]
    assert "CANARY" not in f"{names}{kept_there}"
    assert all(name.startswith("llamagate:{") for name in names)


async def test_a_key_of_another_kind_is_thrown_away_and_told_of(kept: Kept, redis_server: RedisServer) -> None:
    key = account(requests_per_minute=10)
    await kept.ask(key)
    (name,) = redis_server.say("KEYS", "*:b")
    redis_server.say("SET", name, "not ours")
    _, decision = await kept.ask(key)

    assert decision.admitted
    assert 1 == store(kept).counts["keys_repaired"]


async def test_the_gates_that_count_with_us_are_known(redis_server: RedisServer) -> None:
    async with in_redis(redis_server) as kept:
        one = store(kept)
        other = RedisStore(one._link, lambda: kept.clock.steady, gate="g2", clock=None)
        await one.pulse()
        alone = one.gates
        await other.pulse()
        redis_server.say("DEL", "llamagate:{gates}:seen")
        await one.pulse()

        assert (1, 1) == (alone, one.gates)


async def test_settlements_that_nobody_takes_are_bounded_and_counted(kept: Kept) -> None:
    held = store(kept)
    for number in range(MOST_UNSETTLED + 3):
        held._take_back(Claim(f"lost{number}", ()))

    assert (MOST_UNSETTLED, 3) == (held.unsettled, held.counts["settlements_lost"])
    held._unsettled.clear()


async def test_an_unreachable_redis_raises_and_keeps_what_has_to_be_settled(kept: Kept) -> None:
    key = account(tokens_per_day=100)
    claim, _ = await kept.ask(key, tokens=50)
    await store(kept)._link.close()
    with pytest.raises(StoreFailed):
        await kept.ask(key)
    store(kept).settle(claim, Cost(10))

    assert 2 == store(kept).unsettled


class Unheard(Link):
    """Takes everything there and brings no answer back."""

    def __init__(self) -> None:
        self.carried: list[Script] = []

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> bytes:
        self.carried.append(script)
        raise StoreFailed from TimeoutError()


async def test_a_claim_that_was_not_answered_is_not_made_again() -> None:
    link = Unheard()
    claim = Claim("c1", (account(requests_per_minute=1),))
    with pytest.raises(StoreFailed):
        await RedisStore(link, clocks.steady_micros, gate="g1").reserve(claim)

    assert 1 == len(link.carried)


def test_limits_that_change_change_no_name() -> None:
    one = account(requests_per_minute=1)

    assert one.place == replace(one, limits=Limits(concurrent=1)).place


async def test_gates_whose_clocks_differ_count_together(redis_server: RedisServer) -> None:
    """Redis's clock is the only one that takes part, and it is its own here."""

    def gate_ahead_by(micros: int) -> RedisStore:
        link = Link.to(redis_address(redis_server.url))
        return RedisStore(link, lambda: clocks.steady_micros() + micros, gate=f"g{micros}")

    gates = [gate_ahead_by(micros) for micros in (0, 3600 * SECOND, 7200 * SECOND)]
    key = account(requests_per_minute=1, request_burst=10, tokens_per_day=10**6)
    told = await asyncio.gather(
        *[
            gate.reserve(Claim(f"{gate._gate}-{number}", (key,), most_tokens=1))
            for gate in gates
            for number in range(20)
        ]
    )
    for gate in gates:
        await gate.close()

    assert 10 == sum(decision.admitted for decision in told)


@pytest.fixture
async def clustered(redis_cluster: RedisNodes) -> AsyncIterator[RedisStore]:
    store = RedisStore(Link.to(redis_address(redis_cluster.url)), clocks.steady_micros, gate="g1", cluster=True)
    await store.pulse()
    yield store
    await store.close()


EVERYBODY = account(Level.EVERYBODY, "", place="", requests_per_minute=1, request_burst=10, tokens_per_day=1000)


async def test_in_a_cluster_each_team_has_a_slot_and_everybody_another(
    clustered: RedisStore, redis_cluster: RedisNodes
) -> None:
    for number in range(12):
        await clustered.reserve(Claim(f"c{number}", (account(place=f"team {number}", concurrent=5),)))
    await clustered.reserve(Claim("all", (EVERYBODY,)))
    names = [name for node in redis_cluster.nodes for name in node.say("KEYS", "*:b")]

    assert 13 == len(names) == len({redis_cluster.slot(name) for name in names})
    assert all(any(node.say("KEYS", "*:b") for name in names) for node in redis_cluster.nodes)


async def test_in_a_cluster_what_one_slot_refuses_the_other_gives_back(clustered: RedisStore) -> None:
    key = account(place="team lab", concurrent=1)
    told = [await clustered.reserve(Claim(f"c{number}", (key, EVERYBODY), most_tokens=10)) for number in range(3)]
    await clustered.catch_up()
    _, (of_key, of_all) = await clustered.look([key, EVERYBODY])

    assert [True, False, False] == [decision.admitted for decision in told]
    assert (1, 1, 10) == (of_key.concurrent, of_all.concurrent, of_all.day_tokens)
    assert 0 < of_all.requests <= UNITS


async def test_in_a_cluster_too_as_many_pass_as_everybody_may(clustered: RedisStore) -> None:
    claims = [
        Claim(f"c{number}", (EVERYBODY, account(place=f"team {number % 7}", concurrent=50))) for number in range(200)
    ]
    told = await asyncio.gather(*map(clustered.reserve, claims))

    assert 10 == sum(decision.admitted for decision in told)


async def test_in_a_cluster_leases_are_renewed_and_ended_in_every_slot(clustered: RedisStore) -> None:
    claims = [Claim(f"c{number}", (EVERYBODY, account(place=f"team {number}", concurrent=1))) for number in range(5)]
    for claim in claims:
        await clustered.reserve(claim)
    await clustered.renew()
    for claim in claims:
        clustered.settle(claim, Cost(3))
    await clustered.catch_up()
    _, states = await clustered.look([account for claim in claims for account in claim.accounts])

    assert {0} == {state.concurrent for state in states}


async def test_a_burst_that_keeps_this_process_busy_does_not_pass_for_a_redis_that_is_away(
    redis_server: RedisServer,
) -> None:
    link = Link.to(redis_address(redis_server.url))
    store = RedisStore(link, clocks.steady_micros, gate="g1")
    key = account(requests_per_minute=1, request_burst=10)
    await store.pulse()  # As a gate does at its start; to connect has its own time.

    async def ask(number: int) -> bool:
        asyncio.get_running_loop().call_soon(busy, 0.002)  # As a call does before and after.
        return (await store.reserve(Claim(f"c{number}", (key,)))).admitted

    told = await asyncio.gather(*map(ask, range(300)))
    await store.close()

    assert 10 == sum(told)


async def test_a_call_that_ends_while_leases_are_renewed_holds_nothing(kept: Kept) -> None:
    redis = store(kept)
    accounts = [account(place=f"user {number}", concurrent=1) for number in range(3)]
    claims = [(await kept.ask(one))[0] for one in accounts]
    renewing = asyncio.create_task(redis.renew())
    await asyncio.sleep(0)  # It is on its way for the first place.
    for claim in claims:
        redis.settle(claim, Cost())
    await renewing
    await redis.catch_up()

    assert [0, 0, 0] == [(await kept.state(one)).concurrent for one in accounts]


async def test_a_settlement_does_not_overtake_a_renewal_that_redis_has_to_be_taught(
    kept: Kept, redis_server: RedisServer
) -> None:
    redis, one = store(kept), account(concurrent=1)
    redis_server.say("SCRIPT FLUSH")
    before, _ = await kept.ask(one)
    await kept.settle(before)
    await kept.state(one)  # By now all scripts are known but the one that renews.
    claim, _ = await kept.ask(one)
    looking = asyncio.create_task(kept.state(one))
    for _ in range(2):
        await asyncio.sleep(0)  # It is in the air, so that what is asked now goes together.
    renewing = asyncio.create_task(redis.renew())
    await asyncio.sleep(0)
    redis.settle(claim, Cost())
    await asyncio.gather(looking, renewing)
    await redis.catch_up()

    assert 0 == (await kept.state(one)).concurrent


@pytest.mark.parametrize("kind", ["b", "h"])
async def test_who_only_looks_throws_away_a_key_of_another_kind_too(
    kept: Kept, redis_server: RedisServer, kind: str
) -> None:
    key = account(concurrent=1, requests_per_minute=10)
    await kept.ask(key)
    (name,) = redis_server.say("KEYS", f"*:{kind}")
    redis_server.say("SET", name, "not ours")
    await store(kept).look([key])

    assert 1 == store(kept).counts["keys_repaired"]


async def test_a_lease_begins_again_where_another_kind_of_key_was_in_its_place(
    kept: Kept, redis_server: RedisServer
) -> None:
    key = account(concurrent=1)
    await kept.ask(key)
    (name,) = redis_server.say("KEYS", "*:h")
    redis_server.say("SET", name, "not ours")
    await store(kept).renew()

    assert (1, 1) == (store(kept).counts["keys_repaired"], (await kept.state(key)).concurrent)


async def test_what_a_call_was_charged_lives_as_long_as_its_lease(kept: Kept, redis_server: RedisServer) -> None:
    key = account(concurrent=1)
    await kept.ask(key)
    (name,) = redis_server.say("KEYS", "*:b")
    redis_server.say("PEXPIRE", name, 50)
    await kept.tick()

    assert redis_server.say("PTTL", name) > LEASE / 1000


async def test_one_settlement_that_cannot_be_delivered_holds_up_no_other(kept: Kept, redis_server: RedisServer) -> None:
    redis, alice, bob = store(kept), account(place="user alice", concurrent=1), account(place="user bob", concurrent=1)
    of_alice, _ = await kept.ask(alice)
    (name,) = redis_server.say("KEYS", "*:b")
    of_bob, _ = await kept.ask(bob)
    redis_server.say("SET", name, "not ours")
    redis.settle(of_alice, Cost())
    redis.settle(of_bob, Cost())
    await redis.catch_up()
    await redis.catch_up()

    assert (0, 0) == ((await kept.state(bob)).concurrent, redis.unsettled)


async def test_who_ends_settles_what_still_waits(redis_server: RedisServer) -> None:
    async with in_redis(redis_server) as kept:
        claim, _ = await kept.ask(account(tokens_per_day=1000, concurrent=1), tokens=400)
        store(kept)._take_back(claim)
        await store(kept).catch_up()
        waiting = store(kept).unsettled
    (name,) = redis_server.say("KEYS", "*:b")

    assert (1, "0", []) == (waiting, redis_server.say("HGET", name, "d"), redis_server.say("KEYS", "*:h"))


@pytest.mark.parametrize(
    "reply", ["+OK", "+beats", "+admitted soon", "+admitted 12 3", "+refused 12", "$2\r\n\xff\xff"]
)
async def test_an_answer_that_no_script_of_ours_gives_is_a_failure_as_any_other(
    redis_server: RedisServer, open_proxy: OpenProxy, reply: str
) -> None:
    proxy = await open_proxy(redis_server.port)
    asked = RedisStore(Link.to(redis_address(proxy.url)), clocks.steady_micros, gate="g1")
    await asked.pulse()
    proxy.weather.garbles = f"{reply}\r\n".encode("latin-1")
    key = account(concurrent=1)
    claim = Claim("c1", (key,), 10, 1)
    for ask in (asked.reserve(claim), asked.look([key]), asked.pulse()):
        with pytest.raises(StoreFailed):
            await ask
    unsettled = asked.unsettled
    proxy.weather.garbles = None
    await asked.close()
    after = RedisStore(Link.to(redis_address(redis_server.url)), clocks.steady_micros, gate="g2")
    await after.pulse()
    _, (state,) = await after.look([key])
    await after.close()

    assert (1, 0) == (unsettled, state.concurrent), "what may have been set aside is taken back"
