from datetime import UTC, datetime, timedelta

import pytest

from proxy.config.redis_url import redis_address
from proxy.doctor import clocks
from proxy.doctor.looking import redis as looking
from proxy.doctor.redis import Redis, findings
from tests.doctor.shown import shown
from tests.fakes.redis import NewRedis, RedisNodes, RedisSentinels, RedisServer, free_port

PASSWORD = "rather-long-pw-7f3a"


def now() -> datetime:
    return datetime.now(UTC)


async def look(url: str, patience: float = 4.0) -> Redis:
    return (await looking.look(redis_address(url), now=now, patience=patience))[0]


async def test_a_good_one_is_found_good(new_redis: NewRedis) -> None:
    server = new_redis("appendonly yes", password=PASSWORD)
    found = await look(server.url)

    assert {"ok"} == {*shown(findings(found)).values()}
    assert PASSWORD not in repr(found)


async def test_one_without_a_password_and_without_a_file_is_told_of(redis_server: RedisServer) -> None:
    assert {
        "redis.reachable": "ok",
        "redis.version": "ok",
        "redis.persistence": "warning",
        "redis.eviction": "ok",
        "redis.password": "warning",
    } == shown(findings(await look(redis_server.url)))


async def test_one_that_lets_everybody_say_ping_and_no_more_asks_for_a_password(new_redis: NewRedis) -> None:
    server = new_redis(
        "appendonly yes", "user default on nopass resetkeys -@all +ping", f"user gate on >{PASSWORD} ~* +@all"
    )
    found = await look(server.url.replace("redis://", f"redis://gate:{PASSWORD}@"))

    assert "ok" == shown(findings(found))["redis.password"]


async def test_one_that_forgets_when_it_is_full_is_told_of(new_redis: NewRedis) -> None:
    server = new_redis("maxmemory 100mb", "maxmemory-policy allkeys-lru")

    assert "warning" == shown(findings(await look(server.url)))["redis.eviction"]


async def test_a_replica_is_told_of(redis_sentinel: RedisSentinels) -> None:
    assert "critical" == shown(findings(await look(redis_sentinel.replica.url)))["redis.role"]


async def test_behind_sentinels_the_master_is_looked_at(redis_sentinel: RedisSentinels) -> None:
    found = await look(redis_sentinel.url)

    assert None is found.failure
    assert "redis.role" not in shown(findings(found))


async def test_of_a_cluster_each_node_is_looked_at(redis_cluster: RedisNodes) -> None:
    each = looking.each(redis_address(redis_cluster.url))

    assert 3 == len(each)
    assert [None] * 3 == [(await looking.look(one, now=now))[0].failure for one in each]


async def test_by_its_socket_it_is_asked_too(redis_server: RedisServer) -> None:
    found = await look(f"unix://{redis_server.socket}")

    assert (None, True, False) == (found.failure, found.is_local, found.asks_for_password)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"redis://127.0.0.1:{free_port()}", "nobody listens there"),
        ("redis://redis.invalid:6379", ""),
        ("rediss://127.0.0.1:6379?ssl_ca_certs=/nowhere.pem", "The file that ssl_ca_certs names"),
    ],
    ids=("nobody listens", "no such name", "no such file"),
)
async def test_one_that_cannot_be_reached_is_told_of(url: str, why: str) -> None:
    found = await look(url)

    assert {"redis.reachable": "critical"} == shown(findings(found))
    assert (found.failure or "").startswith(why)


async def test_a_wrong_password_is_told_of_and_never_shown(new_redis: NewRedis) -> None:
    server = new_redis(password=PASSWORD)
    found = await look(server.url.replace(PASSWORD, "another-long-pw-99"))

    assert {"redis.reachable": "critical"} == shown(findings(found))
    assert "another" not in str([found, *findings(found)])


async def test_one_that_hangs_is_given_up(new_redis: NewRedis) -> None:
    server = new_redis()
    with server.paused():
        found = await look(server.url, patience=0.2)

    assert {"redis.reachable": "critical"} == shown(findings(found))


@pytest.mark.parametrize(("ahead", "severity"), [(0, "ok"), (-30, "warning"), (7200, "critical")])
async def test_its_clock_is_held_against_ours(redis_server: RedisServer, ahead: int, severity: str) -> None:
    def ours() -> datetime:
        return now() - timedelta(seconds=ahead)

    _, clock = await looking.look(redis_address(redis_server.url), now=ours)

    assert clock is not None
    assert {"clock.redis": severity} == shown(clocks.findings([clock]))
