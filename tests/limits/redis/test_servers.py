from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool, SentinelManagedSSLConnection

from proxy.errors import Misconfigured
from proxy.limits.redis import servers
from proxy.vocabulary import RedisAddress
from tests.fakes.redis_proxy import NewAuthority

SINGLE = RedisAddress((("cache", 6379),))
SENTINELS = RedisAddress((("a", 26379), ("b", 26380)), service="gates")
CLUSTER = RedisAddress((("a", 6379), ("b", 7001), ("::1", 7002)), cluster=True)
SOCKET = RedisAddress(socket="/run/my redis.sock")


def told(client: Redis | RedisCluster, *names: str) -> tuple[object, ...]:
    """What a connection of this client will be made with."""
    kwargs = client.connection_kwargs if isinstance(client, RedisCluster) else client.connection_pool.connection_kwargs
    return tuple(kwargs.get(name) for name in names)


def single(address: RedisAddress) -> Redis:
    client = servers.client(address, 0.2)
    assert isinstance(client, Redis)
    return client


def test_a_server_is_found_by_host_port_and_number() -> None:
    client = single(RedisAddress((("::1", 7000),), number=3))

    assert ("::1", 7000, 3) == told(client, "host", "port", "db")


@pytest.mark.parametrize(
    ("user", "password", "said"),
    [("", "", (None, None)), ("", "a:b@c", (None, "a:b@c")), ("gate@home", "%25", ("gate@home", "%25"))],
)
@pytest.mark.parametrize("address", [SINGLE, SENTINELS, CLUSTER, SOCKET])
def test_user_and_password_are_said_as_they_are(
    address: RedisAddress, user: str, password: str, said: tuple[str | None, str | None]
) -> None:
    client = servers.client(replace(address, user=user, password=password), 0.2)

    assert said == told(client, "username", "password")


@pytest.mark.parametrize("address", [SINGLE, SENTINELS, CLUSTER, SOCKET])
def test_nothing_is_tried_twice_or_longer_than_the_timeout(address: RedisAddress) -> None:
    client = servers.client(address, 0.125)
    names = ("socket_timeout", "socket_connect_timeout", "client_name", "protocol", "decode_responses")

    assert (0.125, 0.125, "llamagate", 2) == told(client, *names)[:4]
    assert not told(client, "decode_responses")[0]
    assert not told(client, "health_check_interval")[0]
    retry = client.retry if isinstance(client, RedisCluster) else told(client, "retry")[0]
    assert isinstance(retry, Retry)
    assert 0 == retry.get_retries()


def test_a_socket_in_the_file_system_is_a_path() -> None:
    client = single(SOCKET)

    assert ("/run/my redis.sock",) == told(client, "path")
    assert UnixDomainSocketConnection is client.connection_pool.connection_class


def test_a_certificate_is_asked_for_and_looked_at(new_authority: NewAuthority) -> None:
    authority = str(new_authority().certificate)
    usual, own = single(replace(SINGLE, tls=True)), single(replace(SINGLE, tls=True, authorities=authority))

    assert SSLConnection is usual.connection_pool.connection_class
    assert ("required", True, None) == told(usual, "ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs")
    assert ("required", True, authority) == told(own, "ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs")


@pytest.mark.parametrize("tls", [False, True])
def test_sentinels_have_a_password_of_their_own(tls: bool) -> None:
    login = replace(SENTINELS, user="gate", password="secret", number=2, tls=tls)
    client = single(replace(login, sentinel_user="watch", sentinel_password="w@tch"))
    pool = client.connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    sentinels = pool.sentinel_manager.sentinels

    assert "gates" == pool.service_name
    assert ("gate", "secret", 2) == told(client, "username", "password", "db")
    assert [("a", 26379), ("b", 26380)] == [told(one, "host", "port") for one in sentinels]
    assert [("watch", "w@tch", 0.2)] * 2 == [told(one, "username", "password", "socket_timeout") for one in sentinels]
    assert [0, 0] == [retry.get_retries() for one in sentinels if (retry := one.get_retry())]
    assert tls == issubclass(pool.connection_class, SentinelManagedSSLConnection)
    assert [tls, tls] == [issubclass(one.connection_pool.connection_class, SSLConnection) for one in sentinels]


def test_the_password_is_not_told_to_sentinels() -> None:
    pool = single(replace(SENTINELS, user="gate", password="secret")).connection_pool
    assert isinstance(pool, SentinelConnectionPool)

    assert [(None, None)] * 2 == [told(one, "username", "password") for one in pool.sentinel_manager.sentinels]


def test_a_cluster_begins_with_the_nodes_that_are_named(new_authority: NewAuthority) -> None:
    client = servers.client(replace(CLUSTER, tls=True, authorities=str(new_authority().certificate)), 0.2)
    assert isinstance(client, RedisCluster)

    assert [("a", 6379), ("b", 7001), ("::1", 7002)] == [(node.host, node.port) for node in client.startup_nodes]
    assert (SSLConnection, "required") == told(client, "connection_class", "ssl_cert_reqs")


@pytest.mark.parametrize("name", ["nothing.pem", "empty.pem", "missing.pem", "."])
@pytest.mark.parametrize("address", [SINGLE, SENTINELS, CLUSTER])
def test_a_file_that_holds_no_certificates_is_refused(tmp_path: Path, address: RedisAddress, name: str) -> None:
    (tmp_path / "nothing.pem").write_text("nothing")
    (tmp_path / "empty.pem").write_text("")

    with pytest.raises(Misconfigured, match="holds no certificates"):
        servers.client(replace(address, tls=True, authorities=str(tmp_path / name)), 0.2)
