"""Whatever happens to callers, to gates and to Redis: in the end what was reserved less what was returned is what was
settled, nothing is below zero, and no place is held for ever.

Bounded in count and time; the seed is in the test's name.
"""

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from proxy.bootstrap import clocks
from proxy.config.redis_url import redis_address
from proxy.limits import Account, Claim, Cost, State, StoreFailed
from proxy.limits.redis.link import Link
from proxy.limits.redis.store import RedisStore
from proxy.vocabulary import Level, Limits
from tests.fakes.redis import NewRedis, RedisServer

WORKERS = 3
CALLERS = 12
"""Of each worker."""
CALLS = 25
"""Of each caller."""
ACCOUNTS = (
    Account(Level.KEY, "k1", Limits(requests_per_minute=10**6, tokens_per_day=10**9, concurrent=10**4), "team lab"),
    Account(Level.TEAM, "lab", Limits(tokens_per_month=10**9, concurrent=25), "team lab"),
    Account(Level.EVERYBODY, "", Limits(tokens_per_minute=10**8, tokens_per_day=10**9)),
)


@dataclass
class Books:
    """What must come of it: tokens, at the least and at the most."""

    settled: int = 0
    lost: int = 0
    """The least of what calls held whose gate was killed."""
    unheard: int = 0
    """The least of what was asked and not answered when the gate was killed: it may be held or not."""
    outcomes: dict[str, int] = field(default_factory=dict)

    def note(self, what: str) -> None:
        self.outcomes[what] = self.outcomes.get(what, 0) + 1


class Worker:
    """One gate's store, and callers who use it until they have had enough or it is killed."""

    def __init__(self, server: RedisServer, name: str, books: Books, chance: random.Random) -> None:
        self.store = RedisStore(Link.to(redis_address(server.url)), clocks.steady_micros, gate=name)
        self.name = name
        self.books = books
        self.chance = chance
        self.held: dict[str, Claim] = {}
        self.asking: dict[str, Claim] = {}
        self.callers = [asyncio.create_task(self._call(number)) for number in range(CALLERS)]

    async def _call(self, caller: int) -> None:
        for number in range(CALLS):
            claim = Claim(f"{self.name}-{caller}-{number}", ACCOUNTS, self.chance.randrange(1, 2000), 3)
            if self.chance.random() < 0.1:
                await self._leave_while_asking(claim)
                continue
            self.asking[claim.id] = claim
            try:
                decision = await self.store.reserve(claim)
            except StoreFailed:
                self.books.note("failed")
                await asyncio.sleep(0.02)
                continue
            finally:
                self.asking.pop(claim.id)
            if not decision.admitted:
                self.books.note("refused")
                continue
            self.held[claim.id] = claim
            await asyncio.sleep(self.chance.random() * 0.02)
            cost = self.chance.randrange(0, 2500)
            self.held.pop(claim.id)
            self.store.settle(claim, Cost(cost))
            self.books.settled += cost
            self.books.note("settled")

    async def _leave_while_asking(self, claim: Claim) -> None:
        self.asking[claim.id] = claim
        asking = asyncio.create_task(self.store.reserve(claim))
        try:
            await asyncio.sleep(self.chance.random() * 0.002)
        finally:
            asking.cancel()
            (result,) = await asyncio.gather(asking, return_exceptions=True)
        self.asking.pop(claim.id)
        self.books.note("left")
        if not isinstance(result, BaseException) and result.admitted:  # It had been answered already.
            self.store.settle(claim, Cost(7))
            self.books.settled += 7

    async def kill(self) -> None:
        """As by the kernel: nobody settles anything, and nobody renews a lease."""
        for caller in self.callers:
            caller.cancel()
        self.books.lost += sum(claim.least_tokens for claim in self.held.values())
        self.books.unheard += sum(claim.least_tokens for claim in self.asking.values())
        for settlement in self.store._unsettled.values():  # Whether it has arrived nobody will ever know.
            self.books.settled -= settlement.cost.tokens
            self.books.unheard += settlement.cost.tokens + settlement.claim.least_tokens
        await asyncio.gather(*self.callers, return_exceptions=True)
        self.store._unsettled.clear()
        for task in self.store._settling:
            task.cancel()
        await self.store.close()
        self.books.note("killed")

    async def end(self) -> None:
        await asyncio.gather(*self.callers)
        async with asyncio.timeout(10):
            while self.store.unsettled:
                await asyncio.sleep(0.1)
                await self.store.catch_up()
        await self.store.close()


async def trouble(server: RedisServer, chance: random.Random) -> None:
    """For a while, Redis stands still, is killed and started again, or forgets its scripts and its connections."""
    for _ in range(4):
        await asyncio.sleep(0.1 + chance.random() * 0.2)
        match chance.choice(("stands still", "is killed", "forgets")):
            case "stands still":
                server.pause()
                await asyncio.sleep(0.1 + chance.random() * 0.5)
                server.resume()
            case "is killed":
                server.kill()
                await asyncio.sleep(0.1)
                await asyncio.to_thread(server.start)
            case _:
                server.say("SCRIPT", "FLUSH")
                server.say("CLIENT", "KILL", "TYPE", "normal")


@pytest.mark.parametrize("seed", [1, 7, 2026])
async def test_after_all_of_it_the_books_are_balanced(new_redis: NewRedis, seed: int) -> None:
    chance, books = random.Random(seed), Books()
    server = new_redis("appendonly yes", "appendfsync no")  # The kernel has what it has answered: a kill loses nothing.
    workers = [Worker(server, f"g{number}", books, chance) for number in range(WORKERS)]
    troubled = asyncio.create_task(trouble(server, chance))
    await asyncio.sleep(0.3)
    await workers[0].kill()
    await troubled
    for worker in workers[1:]:
        await worker.end()
    over = await state_when_all_leases_have_ended(server)

    assert [0, 0, 0] == [state.concurrent for state in over]
    assert all(min(state) >= 0 for state in over)
    for used in (over[0].day_tokens, over[1].month_tokens, over[2].day_tokens):
        assert books.settled + books.lost <= used <= books.settled + books.lost + books.unheard, books
    assert books.outcomes["settled"] > 10, books  # How many, the machine says.
    assert {"left", "killed"} <= books.outcomes.keys()


async def state_when_all_leases_have_ended(server: RedisServer) -> tuple[State, ...]:
    """As a minute later."""
    for leases in server.say("KEYS", "*:h"):
        for lease in server.say("ZRANGE", leases, 0, -1):
            server.say("ZADD", leases, "XX", 1, lease)
    store = RedisStore(Link.to(redis_address(server.url)), clocks.steady_micros, gate="after")
    await store.pulse()
    _, states = await store.look(ACCOUNTS)
    await store.close()
    return states
