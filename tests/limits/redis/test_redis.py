"""What the gate's user in Redis has to be allowed, by the line that the docs have for it."""

import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from proxy.config.redis_url import redis_address
from proxy.limits import Claim, Cost
from proxy.limits.redis.link import Link
from proxy.limits.redis.store import RedisStore
from proxy.vocabulary import Level
from tests.contracts.test_limit_stores import account
from tests.fakes.redis import NewRedis, RedisNodes, RedisSentinels, RedisServer

SETTINGS = (Path(__file__).parents[3] / "docs/settings.md").read_text()
(LINE,) = re.findall(r"^ACL SETUSER gate .*$", SETTINGS, re.MULTILINE)
TO_CONNECT = {"eval", "evalsha", "client|setname"}


def allow(servers: Sequence[RedisServer], *besides: str) -> None:
    for server in servers:
        server.say(*LINE.replace("PASSWORD", "sesame").split(), *besides)


def denied(servers: Sequence[RedisServer]) -> list[object]:
    """What somebody was not allowed to do, or failed to log in for."""
    return [told for server in servers for told in server.say("ACL LOG")]


@asynccontextmanager
async def stored(url: str) -> AsyncIterator[RedisStore]:
    address = redis_address(url)
    link = Link.to(address, timeout=5.0)
    store = RedisStore(link, lambda: time.monotonic_ns() // 1000, gate="g1", cluster=address.cluster)
    try:
        yield store
    finally:
        await store.close()


async def do_everything(store: RedisStore, servers: Sequence[RedisServer]) -> None:
    """All that the store can do, on accounts of two places."""
    own = account(requests_per_minute=10, tokens_per_minute=1000, concurrent=2, tokens_per_day=1000)
    accounts = (own, account(Level.TEAM, "lab", "team lab", gpu_seconds_per_day=60.0))
    await store.pulse()
    claim = Claim("c1", accounts, 100, 10)
    reserved = await store.reserve(claim)
    await store.renew()
    during = await store.look(accounts)
    await store.reset(accounts)
    store.settle(claim, Cost(50, 5))
    await store.catch_up()
    after = await store.look(accounts)
    for server in servers:
        for name in server.say("KEYS", "*:b"):
            server.say("SET", name, "not ours")
    repaired = await store.reserve(Claim("c2", accounts, 100, 10))

    assert (True, True) == (reserved.admitted, repaired.admitted)
    assert [1, 1] == [state.concurrent for state in during[1]]
    assert [0, 0] == [state.concurrent for state in after[1]]
    assert 0 == store.unsettled
    assert {"keys_repaired"} == store.counts.keys()


def test_the_line_allows_what_the_scripts_do_and_nothing_else() -> None:
    sources = [one.read_text() for one in files("proxy.limits.redis").iterdir() if one.name.endswith(".lua")]
    asked = {command.lower() for source in sources for command in re.findall(r"redis\.p?call\(\s*'(\w+)'", source)}

    assert sum(source.count("redis.") for source in sources) == sum(source.count("redis.call('") for source in sources)
    assert asked | TO_CONNECT == {word[1:] for word in LINE.split() if word.startswith("+")}
    assert ["~llamagate:*"] == [word for word in LINE.split() if word.startswith(("~", "%", "&", "all"))]


async def test_a_user_that_the_line_makes_can_do_all_that_the_store_does(new_redis: NewRedis) -> None:
    server = new_redis()
    allow([server])
    async with stored(f"redis://gate:sesame@127.0.0.1:{server.port}") as store:
        await do_everything(store, [server])

    assert [] == denied([server])


async def test_the_number_of_a_database_needs_one_right_more(new_redis: NewRedis) -> None:
    server = new_redis()
    allow([server], "+select")
    async with stored(f"redis://gate:sesame@127.0.0.1:{server.port}/3") as store:
        await store.pulse()

    assert [] == denied([server])
    assert "`+select`" in SETTINGS


async def test_a_cluster_needs_one_right_more(redis_cluster: RedisNodes) -> None:
    nodes = redis_cluster.nodes
    allow(nodes, "+cluster|slots")
    try:
        async with stored(redis_cluster.url.replace("://", "://gate:sesame@")) as store:
            await do_everything(store, nodes)

        assert [] == denied(nodes)
        assert "`+cluster|slots`" in SETTINGS
    finally:
        for node in nodes:
            node.say("ACL", "DELUSER", "gate")


async def test_sentinels_have_a_user_of_their_own(redis_sentinel: RedisSentinels) -> None:
    (rights,) = re.findall(r"`(\S+ \+sentinel\|masters)`", SETTINGS)
    allow([redis_sentinel.master])
    redis_sentinel.sentinel.say("ACL", "SETUSER", "watch", "reset", "on", ">barley", *rights.split())
    login = redis_sentinel.url.replace("://", "://gate:sesame@")
    async with stored(f"{login}?sentinel_username=watch&sentinel_password=barley") as store:
        await do_everything(store, [redis_sentinel.master])

    assert [] == denied([redis_sentinel.master, redis_sentinel.sentinel])


@pytest.fixture
def as_the_gate(new_redis: NewRedis) -> Iterator[Redis]:
    """A plain client with that user's login."""
    server = new_redis()
    allow([server])
    with Redis(port=server.port, username="gate", password="sesame", protocol=2, driver_info=None) as plain:
        yield plain


@pytest.mark.parametrize("words", [("HGETALL", "other"), ("GET", "llamagate:x"), ("FLUSHALL",), ("CONFIG GET", "*")])
def test_that_user_can_do_nothing_else(as_the_gate: Redis, words: tuple[str, ...]) -> None:
    with pytest.raises(NoPermissionError):
        as_the_gate.execute_command(*words)  # type: ignore[no-untyped-call]


def test_that_user_can_touch_no_other_key_by_a_script(as_the_gate: Redis) -> None:
    with pytest.raises(ResponseError, match="key"):
        as_the_gate.eval("return redis.call('HGET', 'other', 'field')", 0)
