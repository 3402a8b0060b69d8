import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.auth.replays import MemoryReplays, OnFailure, Replays, SharedReplays
from proxy.config.redis_url import redis_address
from proxy.errors import AuthUnavailable, StoreFailed
from proxy.limits.redis.first import RedisFirst
from proxy.limits.redis.link import Link
from tests.fakes.clock import FakeClock
from tests.fakes.redis import RedisServer


class Away:
    """A memory that several gates share, which can be out of reach."""

    def __init__(self, memory: Replays) -> None:
        self._memory = memory
        self.is_away = False
        self.asked = 0

    async def first(self, identity: str, what: bytes, seconds: float) -> bool:
        self.asked += 1
        if self.is_away:
            raise StoreFailed
        return await self._memory.first(identity, what, seconds)


@pytest.fixture
async def linked(redis_server: RedisServer) -> AsyncIterator[RedisFirst]:
    link = Link.to(redis_address(redis_server.url), timeout=5.0)
    yield RedisFirst(link)
    await link.close()


@pytest.fixture(params=["memory", "shared", "redis"])
def replays(request: pytest.FixtureRequest) -> Replays:
    if request.param == "memory":
        return MemoryReplays(FakeClock())
    shared = MemoryReplays(FakeClock()) if request.param == "shared" else request.getfixturevalue("linked")
    return SharedReplays(MemoryReplays(FakeClock()), shared, "refuse")


async def test_each_thing_is_new_once_for_each_identity(replays: Replays) -> None:
    told = [
        await replays.first(identity, what, 60.0)
        for identity, what in (("a", b"x"), ("a", b"x"), ("a", b"y"), ("b", b"x"), ("b", b"x"), ("a", b"y"))
    ]

    assert [True, False, True, True, False, False] == told


async def test_of_many_at_once_one_is_the_first(replays: Replays) -> None:
    told = await asyncio.gather(*(replays.first("a", b"x", 60.0) for _ in range(100)))

    assert 1 == sum(told)


async def test_what_came_is_forgotten_when_its_time_is_over_and_not_before() -> None:
    clock = FakeClock()
    memory = MemoryReplays(clock)
    await memory.first("a", b"long", 60.0)
    await memory.first("a", b"short", 10.0)
    clock.seconds += 9.999
    before = [await memory.first("a", what, 60.0) for what in (b"long", b"short")]
    clock.seconds += 0.001
    after = [await memory.first("a", what, 60.0) for what in (b"long", b"short")]

    assert [False, False] == before
    assert [False, True] == after


async def test_nothing_is_left_of_what_has_been_forgotten() -> None:
    clock = FakeClock()
    memory = MemoryReplays(clock)
    for number in range(1000):
        await memory.first(f"identity {number}", b"x", 10.0)
    clock.seconds += 10
    await memory.first("a", b"x", 10.0)

    assert 1 == len(memory)
    assert {"a": 1} == memory._of_each
    assert 1 == len(memory._ends)


async def test_who_fills_their_own_part_is_told_so_and_nobody_else_is() -> None:
    clock = FakeClock()
    memory = MemoryReplays(clock, most=100, most_of_each=3)
    for number in range(3):
        await memory.first("a", b"%d" % number, 10.0)
    with pytest.raises(AuthUnavailable):
        await memory.first("a", b"one more", 10.0)

    assert await memory.first("b", b"one more", 10.0)
    assert not await memory.first("a", b"2", 10.0)  # What is known needs no room.
    assert {"replays_full": 1} == memory.counts

    clock.seconds += 10

    assert await memory.first("a", b"one more", 10.0)


async def test_a_full_memory_takes_nobody_until_something_is_forgotten() -> None:
    clock = FakeClock()
    memory = MemoryReplays(clock, most=5)
    for number in range(5):
        await memory.first(f"{number}", b"x", 10.0 + number)
    with pytest.raises(AuthUnavailable):
        await memory.first("a", b"x", 10.0)
    clock.seconds += 10

    assert await memory.first("a", b"x", 10.0)
    assert 5 == len(memory)


async def test_what_one_gate_has_seen_is_not_new_to_another() -> None:
    shared = MemoryReplays(FakeClock())
    one, other = (SharedReplays(MemoryReplays(FakeClock()), shared, "refuse") for _ in range(2))

    assert [True, False] == [await one.first("a", b"x", 60.0), await other.first("a", b"x", 60.0)]


async def test_what_this_gate_has_seen_is_not_asked_of_the_others() -> None:
    shared = Away(MemoryReplays(FakeClock()))
    replays = SharedReplays(MemoryReplays(FakeClock()), shared, "refuse")

    assert [True, False, False] == [await replays.first("a", b"x", 60.0) for _ in range(3)]
    assert 1 == shared.asked


async def test_where_the_others_cannot_be_asked_nobody_is_taken_if_the_owner_wants_it_so() -> None:
    shared = Away(MemoryReplays(FakeClock()))
    replays = SharedReplays(MemoryReplays(FakeClock()), shared, "refuse")
    shared.is_away = True
    with pytest.raises(AuthUnavailable):
        await replays.first("a", b"x", 60.0)

    assert {"replays_degraded_refuse": 1} == replays.counts


@pytest.mark.parametrize("on_failure", ["local", "allow"])
async def test_where_the_others_cannot_be_asked_each_gate_goes_on_alone_if_the_owner_wants_it_so(
    on_failure: OnFailure,
) -> None:
    shared = Away(MemoryReplays(FakeClock()))
    replays = SharedReplays(MemoryReplays(FakeClock()), shared, on_failure)
    shared.is_away = True

    assert [True, False] == [await replays.first("a", b"x", 60.0) for _ in range(2)]
    assert {f"replays_degraded_{on_failure}": 1} == replays.counts
