"""What only the memory in Redis does; what it has in common with that of one process is in ``auth.test_replays``."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.config.redis_url import redis_address
from proxy.errors import StoreFailed
from proxy.limits.redis.first import RedisFirst
from proxy.limits.redis.link import Link
from tests.fakes.redis import NewRedis, RedisNodes, RedisServer
from tests.limits.redis.test_redis import allow, denied


@pytest.fixture
async def two(redis_server: RedisServer) -> AsyncIterator[tuple[RedisFirst, RedisFirst]]:
    """As two gates have it."""
    links = [Link.to(redis_address(redis_server.url), timeout=5.0) for _ in range(2)]
    yield RedisFirst(links[0]), RedisFirst(links[1])
    for link in links:
        await link.close()


async def test_of_two_gates_that_ask_at_once_one_is_told_that_it_is_the_first(
    two: tuple[RedisFirst, RedisFirst],
) -> None:
    for number in range(50):
        told = await asyncio.gather(*(one.first("a", b"%d" % number, 60.0) for one in two for _ in range(5)))

        assert 1 == sum(told)


async def test_it_is_kept_for_its_time_and_then_forgotten(
    two: tuple[RedisFirst, RedisFirst], redis_server: RedisServer
) -> None:
    await two[0].first("a", b"x", 90.5)
    (key,) = redis_server.say("KEYS", "*")
    left = redis_server.say("PTTL", key)

    assert 80_000 < left <= 90_500

    redis_server.say("PEXPIRE", key, 0)

    assert await two[1].first("a", b"x", 60.0)


async def test_no_time_is_so_short_that_it_would_be_for_ever(
    two: tuple[RedisFirst, RedisFirst], redis_server: RedisServer
) -> None:
    for seconds in (0.0, -5.0, 0.0001):
        await two[0].first("a", b"%f" % seconds, seconds)

    assert not [key for key in redis_server.say("KEYS", "*") if redis_server.say("PTTL", key) == -1]


async def test_nothing_that_anybody_said_is_seen_in_redis(
    two: tuple[RedisFirst, RedisFirst], redis_server: RedisServer
) -> None:
    await two[0].first("identity", b"POST,/api/chat?ts=1", 60.0)
    (key,) = redis_server.say("KEYS", "*")

    assert ("llamagate:came:", 32) == (key[:15], len(key[15:]))
    assert {"came": "1"} == redis_server.say("HGETALL", key)


async def test_two_that_read_alike_when_they_are_put_together_are_two(two: tuple[RedisFirst, RedisFirst]) -> None:
    told = [await two[0].first(identity, what, 60.0) for identity, what in (("a b", b"c"), ("a", b"b c"))]

    assert [True, True] == told


async def test_the_gates_user_in_redis_needs_no_more_rights(new_redis: NewRedis) -> None:
    server = new_redis()
    allow([server])
    link = Link.to(redis_address(f"redis://gate:sesame@127.0.0.1:{server.port}"), timeout=5.0)
    told = [await RedisFirst(link).first("a", b"x", 60.0) for _ in range(2)]
    await link.close()

    assert [True, False] == told
    assert [] == denied([server])


async def test_a_cluster_is_asked_where_the_key_lies(redis_cluster: RedisNodes) -> None:
    link = Link.to(redis_address(redis_cluster.url), timeout=5.0)
    first = RedisFirst(link)
    told = [await first.first("a", b"%d" % (number % 30), 60.0) for number in range(60)]
    await link.close()

    assert [True] * 30 + [False] * 30 == told
    assert 30 == sum(len(node.say("KEYS", "*")) for node in redis_cluster.nodes)


async def test_a_redis_that_does_not_answer_is_told_as_such(new_redis: NewRedis) -> None:
    server = new_redis()
    link = Link.to(redis_address(server.url), timeout=0.2)
    with server.paused(), pytest.raises(StoreFailed):
        await RedisFirst(link).first("a", b"x", 60.0)
    await link.close()
