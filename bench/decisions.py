"""What a decision about limits costs, by where the counts are kept: in CPU time of the process that wants it decided.

Stores and limiter are put together as in a gate, and asked from the loop of this process.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from bench.limits import ALLOWED, caller
from bench.redis import RedisServer
from proxy.bootstrap import clocks
from proxy.bootstrap.limiting import covers, redis_store
from proxy.config.settings import Settings
from proxy.limits import Claim, Cost, Store, accounts
from proxy.limits.guard import LOOK_SECONDS, Guard, OnFailure
from proxy.limits.limiter import Limiter
from proxy.limits.memory import MemoryStore
from proxy.policy import endpoints
from proxy.vocabulary import Ask, Caller, Tongue, Usage

ACCOUNTS = (1, len(ALLOWED))
MOST_TOKENS = 2000
LEAST_TOKENS = 100
USAGE = Usage(120, 100)
GPU_SECONDS = 0.9
COST = Cost(USAGE.tokens, round(1000 * GPU_SECONDS))
LOOK_EVERY_SECONDS = 0.0005
TRIES = 5
"""On a busy machine even a Redis beside it does not always answer in time."""
SETTLED_AT_ONCE = 100

_ENDPOINT, _ = endpoints.find("POST", "/v1/chat/completions")
_ASK = Ask(_ENDPOINT, "bench:latest", prompt_floor=LEAST_TOKENS, prompt_most=LEAST_TOKENS, most_tokens=MOST_TOKENS)
_numbers = itertools.count()


class WrongDecision(Exception):
    """None of those that were to be measured."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What decides, put together as in a gate."""

    store: Store
    limiter: Limiter
    redis: RedisServer | None = None
    unsettled: Callable[[], int] = lambda: 0
    without_redis: Callable[[], int] = lambda: 0
    """Decisions that were made without Redis so far, where it should have been asked."""


Decision = Callable[[], Awaitable[None]]


def _reserve(counts: Counts, claim: Claim, who: Caller) -> Decision:
    async def decide() -> None:
        if not (await counts.store.reserve(claim)).admitted:
            raise WrongDecision("a claim was refused")

    return decide


def _reserve_and_settle(counts: Counts, claim: Claim, who: Caller) -> Decision:
    reserve = _reserve(counts, claim, who)

    async def decide() -> None:
        await reserve()
        counts.store.settle(claim, COST)

    return decide


def _admit(counts: Counts, claim: Claim, who: Caller) -> Decision:
    async def decide() -> None:
        telling = counts.limiter.telling(who, Tongue.OPENAI, lambda fields: None)
        async with telling as turnstile, turnstile.admit(_ASK) as admission:
            admission.settle(USAGE, GPU_SECONDS)

    return decide


KINDS: Mapping[str, Callable[[Counts, Claim, Caller], Decision]] = {
    "reserve": _reserve,
    "reserve, settle": _reserve_and_settle,
    "admit, tell, settle": _admit,
}
"""The last is all that a call meets: which accounts are its caller's, the decision, the header fields, the truth."""


@asynccontextmanager
async def in_process() -> AsyncIterator[Counts]:
    store = MemoryStore(clocks.moment)
    yield Counts(store, Limiter(store, covers, _new_id))


@asynccontextmanager
async def in_redis(redis: RedisServer) -> AsyncIterator[Counts]:
    address = Settings.model_validate({"redis_url": redis.url}).redis
    assert address is not None
    shared = redis_store(address, "bench")
    guard = Guard(shared, MemoryStore(clocks.moment), OnFailure.LOCAL, replicas=1, clock=time.monotonic)
    await guard.begin()
    keeping = asyncio.create_task(guard.keep())
    try:
        yield Counts(
            guard,
            Limiter(guard, covers, _new_id),
            redis,
            unsettled=lambda: shared.unsettled,
            without_redis=lambda: guard.counts["decisions_degraded_local"] + guard.counts["failures"],
        )
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        await shared.close()


def places(redis: RedisServer | None) -> dict[str, AbstractAsyncContextManager[Counts]]:
    """Where counts are kept, without Redis where there is none."""
    return {"in process": in_process(), **({"in Redis": in_redis(redis)} if redis else {})}


@dataclass(frozen=True, slots=True)
class Spending:
    """CPU seconds of one decision."""

    here: float
    in_redis: float | None


async def spending(counts: Counts, kind: str, number: int, clients: int, decisions: int) -> Spending:
    """Of so many decisions, by so many clients at once who have so many accounts each."""
    for _ in range(TRIES):
        before = counts.without_redis()
        spent = await _spending(counts, kind, number, clients, decisions)
        if counts.without_redis() == before:
            return spent
        await asyncio.sleep(2 * LOOK_SECONDS)  # By then it is asked again, if it can be.
    raise WrongDecision("Redis did not answer in time")


async def _spending(counts: Counts, kind: str, number: int, clients: int, decisions: int) -> Spending:
    callers = [caller(client, number) for client in range(clients)]
    made = [(_claim(who), who) for who in itertools.islice(itertools.cycle(callers), decisions)]
    waiting = iter([KINDS[kind](counts, claim, who) for claim, who in made])

    async def client() -> None:
        for decide in waiting:
            await decide()

    redis = counts.redis
    there, here = redis.cpu_seconds() if redis else 0.0, time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in callers:
            group.create_task(client())
    await _settled(counts)
    here = time.process_time() - here
    in_redis = (redis.cpu_seconds() - there) / decisions if redis else None
    for at in range(0, decisions, SETTLED_AT_ONCE):
        for claim, _ in made[at : at + SETTLED_AT_ONCE]:
            counts.store.settle(claim, COST)  # What was only reserved; the rest is not settled twice.
        await _settled(counts)
    return Spending(here / decisions, in_redis)


async def _settled(counts: Counts) -> None:
    while counts.unsettled():  # noqa: ASYNC110 - a store tells nobody when all is settled
        await asyncio.sleep(LOOK_EVERY_SECONDS)


def _claim(who: Caller) -> Claim:
    return Claim(_new_id(), accounts.every(who), MOST_TOKENS, LEAST_TOKENS)


def _new_id() -> str:
    return f"0123456789ab-{next(_numbers)}"
