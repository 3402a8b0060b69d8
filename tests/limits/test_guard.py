import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from proxy.limits import Account, Claim, Cost, Decision, Moment, State, StoreFailed
from proxy.limits.guard import LOOK_SECONDS, PULSE_SECONDS, Guard, OnFailure, share
from proxy.limits.memory import MemoryStore
from proxy.limits.redis.store import RENEWED_SECONDS
from proxy.vocabulary import Level, Limits
from tests.fakes.clock import FakeClock
from tests.fakes.moments import FakeMoments


class Shared:
    """What a ``Guard`` needs of Redis, which fails when it is told to."""

    def __init__(self) -> None:
        self.kept = MemoryStore(FakeMoments())
        self.fails = self.fails_unforeseen = False
        self.away: set[str] = set()
        """Places that cannot be asked about, though all else can."""
        self.gates = 1
        self.unsettled = 0
        self.asked: list[str] = []
        self.settled: list[str] = []

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.fails_unforeseen:
            raise LookupError("canary")
        if self.fails:
            raise StoreFailed from ConnectionRefusedError("canary")

    async def reserve(self, claim: Claim) -> Decision:
        self._ask("reserve")
        if not self.away.isdisjoint(account.place for account in claim.accounts):
            raise StoreFailed
        return await self.kept.reserve(claim)

    def settle(self, claim: Claim, cost: Cost) -> None:
        self.settled.append(claim.id)
        self.kept.settle(claim, cost)

    async def look(self, accounts: Sequence[Account]) -> tuple[Moment, tuple[State, ...]]:
        self._ask("look")
        if not self.away.isdisjoint(account.place for account in accounts):
            raise StoreFailed
        return await self.kept.look(accounts)

    async def reset(self, accounts: Sequence[Account]) -> None:
        self._ask("reset")

    async def pulse(self) -> None:
        self._ask("pulse")

    async def renew(self) -> None:
        self._ask("renew")

    async def catch_up(self) -> None:
        self._ask("catch up")
        self.unsettled = 0


class Watch:
    """The guard, and the time in which it looks after Redis, which goes by one look at a time."""

    def __init__(self, on_failure: OnFailure = OnFailure.LOCAL, replicas: int = 1) -> None:
        self.shared, self.clock = Shared(), FakeClock()
        self.local = MemoryStore(FakeMoments())
        self.turns = asyncio.Semaphore(0)
        self.looked = asyncio.Event()
        self.guard = Guard(
            self.shared,  # type: ignore[arg-type]  # The part of it that is used.
            self.local,
            on_failure,
            replicas=replicas,
            clock=self.clock,
            pause=self._pause,
        )
        self.claims = 0

    async def _pause(self, seconds: float) -> None:
        self.looked.set()
        await self.turns.acquire()
        self.clock.seconds += seconds

    async def look(self, times: int = 1) -> None:
        """So many looks go by."""
        for _ in range(times):
            self.looked.clear()
            self.turns.release()
            await self.looked.wait()

    async def ask(self, account: Account, tokens: int = 0) -> tuple[Claim, Decision]:
        self.claims += 1
        claim = Claim(f"c{self.claims}", (account,), tokens)
        return claim, await self.guard.reserve(claim)


KEY = Account(Level.KEY, "k1", Limits(requests_per_minute=10))


async def test_while_redis_works_it_decides() -> None:
    watch = Watch()
    claim, decision = await watch.ask(KEY)
    watch.guard.settle(claim, Cost())

    assert (True, (KEY,), ["c1"]) == (decision.admitted, decision.claim.accounts, watch.shared.settled)
    assert {"decisions": 1} == watch.guard.counts
    assert watch.guard.degraded_seconds is None


async def test_the_first_failure_opens_the_circuit_and_nobody_waits_for_redis_any_more() -> None:
    watch = Watch()
    watch.shared.fails = True
    for _ in range(5):
        await watch.ask(KEY)

    assert ["reserve"] == watch.shared.asked
    assert {"decisions": 5, "failures": 1, "decisions_degraded_local": 5} == watch.guard.counts


async def test_a_gate_goes_on_with_its_share() -> None:
    watch = Watch(replicas=2)
    watch.shared.fails, watch.shared.gates = True, 5
    told = [(await watch.ask(KEY))[1].admitted for _ in range(4)]

    assert [True, True, False, False] == told


async def test_there_are_at_least_as_many_gates_as_the_owner_says() -> None:
    watch = Watch(replicas=5)
    watch.shared.fails = True
    told = [(await watch.ask(KEY))[1].admitted for _ in range(4)]

    assert [True, True, False, False] == told


async def test_a_claim_that_is_larger_than_a_share_takes_all_of_it_and_owes_the_rest() -> None:
    watch = Watch(replicas=2)
    watch.shared.fails = True
    key = replace(KEY, limits=Limits(tokens_per_minute=100))
    claim, first = await watch.ask(key, tokens=80)
    watch.guard.settle(claim, Cost(80))
    _, second = await watch.ask(key, tokens=1)

    assert (True, 50, False) == (first.admitted, first.claim.most_tokens, second.admitted)


async def test_what_was_decided_here_is_settled_here() -> None:
    watch = Watch()
    before, _ = await watch.ask(replace(KEY, limits=Limits(concurrent=5)))
    watch.shared.fails = True
    here, _ = await watch.ask(replace(KEY, limits=Limits(concurrent=5)))
    held = watch.local.under_way
    watch.guard.settle(here, Cost())
    watch.guard.settle(before, Cost())

    assert (1, 0) == (held, watch.local.under_way)
    assert [before.id] == watch.shared.settled


async def test_it_refuses_where_the_owner_wants_that() -> None:
    watch = Watch(OnFailure.REFUSE)
    watch.shared.fails = True
    for _ in range(2):
        with pytest.raises(StoreFailed):
            await watch.ask(KEY)
    with pytest.raises(StoreFailed):
        await watch.guard.look([KEY])

    assert {"decisions": 2, "failures": 1, "decisions_degraded_refuse": 2} == watch.guard.counts


async def test_it_lets_pass_where_the_owner_wants_that_and_keeps_no_count() -> None:
    watch = Watch(OnFailure.ALLOW)
    watch.shared.fails = True
    told = [await watch.ask(KEY) for _ in range(30)]
    for claim, _ in told:
        watch.guard.settle(claim, Cost())

    assert {(True, (), ())} == {(one.admitted, one.claim.accounts, one.states) for _, one in told}
    assert 30 == watch.guard.counts["decisions_degraded_allow"]


async def test_it_goes_back_to_redis_at_the_first_look_that_finds_it_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watch = Watch()
    keeping = asyncio.create_task(watch.guard.keep())
    watch.shared.fails = True
    for _ in range(3):
        await watch.ask(KEY)
    await watch.look(4)
    watch.shared.fails = False
    await watch.look(2)
    _, decision = await watch.ask(KEY)
    keeping.cancel()

    told: list[dict[str, Any]] = [record.__dict__ for record in caplog.records if record.name == "proxy.limits"]
    assert ["limits_degraded", "limits_restored"] == [record["msg"] for record in told]
    assert ("local", "ConnectionRefusedError", 3) == (told[0]["mode"], told[0]["error"], told[1]["decisions"])
    assert "canary" not in caplog.text
    assert (KEY,) == decision.claim.accounts
    assert watch.guard.degraded_seconds is None
    assert LOOK_SECONDS <= 0.25


async def test_while_one_part_of_a_cluster_is_away_the_pulse_of_another_closes_nothing() -> None:
    watch = Watch()
    keeping = asyncio.create_task(watch.guard.keep())
    watch.shared.away = {KEY.place}
    await watch.ask(KEY)
    await watch.look(4)
    while_away = watch.guard.degraded_seconds
    watch.shared.away = set()
    await watch.look()
    keeping.cancel()

    assert (1.0, None) == (while_away, watch.guard.degraded_seconds)
    assert 1 == watch.guard.counts["failures"]


async def test_leases_are_renewed_and_the_pulse_is_felt_while_all_is_well() -> None:
    watch = Watch()
    keeping = asyncio.create_task(watch.guard.keep())
    await watch.look(int(RENEWED_SECONDS / LOOK_SECONDS) + 1)
    keeping.cancel()

    assert int(RENEWED_SECONDS / PULSE_SECONDS) == watch.shared.asked.count("pulse")
    assert 1 == watch.shared.asked.count("renew")


async def test_a_pulse_that_fails_opens_the_circuit_before_a_call_has_to_wait() -> None:
    watch = Watch()
    keeping = asyncio.create_task(watch.guard.keep())
    watch.shared.fails = True
    await watch.look(int(PULSE_SECONDS / LOOK_SECONDS) + 1)
    await watch.ask(KEY)
    keeping.cancel()

    assert "reserve" not in watch.shared.asked


async def test_what_nobody_has_foreseen_does_not_end_the_looking(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    keeping = asyncio.create_task(watch.guard.keep())
    watch.shared.fails_unforeseen = True
    await watch.look(int(PULSE_SECONDS / LOOK_SECONDS) + 1)
    while_away = watch.guard.degraded_seconds
    watch.shared.fails_unforeseen = False
    await watch.look()
    keeping.cancel()

    assert (LOOK_SECONDS, None) == (while_away, watch.guard.degraded_seconds)
    assert "LookupError" in [record.__dict__.get("error") for record in caplog.records]


async def test_what_waits_to_be_settled_is_settled_when_redis_is_back() -> None:
    watch = Watch()
    watch.shared.unsettled = 3
    keeping = asyncio.create_task(watch.guard.keep())
    await watch.look(2)
    keeping.cancel()

    assert 1 == watch.shared.asked.count("catch up")


async def test_a_redis_that_is_away_at_the_start_stops_nobody() -> None:
    watch = Watch()
    watch.shared.fails = True
    await watch.guard.begin()
    _, decision = await watch.ask(KEY)

    assert (True, ["pulse"]) == (decision.admitted, watch.shared.asked)


async def test_a_look_while_redis_is_away_is_at_the_share() -> None:
    watch = Watch(replicas=2)
    watch.shared.fails = True
    await watch.ask(KEY)
    _, (state,) = await watch.guard.look([KEY])

    assert State(requests=60_000_000, concurrent=1) == state


@pytest.mark.parametrize(
    ("whole", "part"),
    [
        (Limits(), Limits()),
        (Limits(10, 7, 1001, 10, 5, 9, 8, 9.0), Limits(3, 2, 333, 3, 1, 3, 2, 3.0)),
        (Limits(1, 2, 1, 2, 1, 2, 1, 1.5), Limits(1, 1, 1, 1, 1, 1, 1, 0.5)),
    ],
)
def test_a_share_is_a_part_and_never_nothing(whole: Limits, part: Limits) -> None:
    assert part == share(whole, 3)
