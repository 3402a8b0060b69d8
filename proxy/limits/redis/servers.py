"""To redis-py's client for a Redis, which retries nothing and has sent nothing yet."""

import ssl
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import ConnectionPool, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from proxy.errors import Misconfigured
from proxy.vocabulary import RedisAddress

CLIENT_NAME = "llamagate"


def client(address: RedisAddress, timeout: float) -> Redis | RedisCluster:
    """Connects to nothing. Raises Misconfigured where the file of the authorities holds no certificates."""
    usual = _usual(timeout) | _tls(address)
    login = _login(address.user, address.password)
    if address.socket:
        # Not by `Redis(unix_socket_path=…)`, which forgets the timeout for connecting.
        return Redis.from_pool(ConnectionPool(UnixDomainSocketConnection, path=address.socket, **login, **usual))
    if address.cluster:
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
            require_full_coverage=False,  # A place whose node is there needs no other's.
            dynamic_startup_nodes=False,
            **login,
            **usual,
        )
    if address.service:
        asked = _login(address.sentinel_user, address.sentinel_password)
        sentinels = Sentinel(list(address.hosts), sentinel_kwargs=usual | asked)  # type: ignore[no-untyped-call]
        master: Redis = sentinels.master_for(address.service, db=address.number, **login, **usual)
        return master
    ((host, port),) = address.hosts
    return Redis(host=host, port=port, db=address.number, **login, **usual)


def _usual(timeout: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),  # What has been sent may have been done.
        "client_name": CLIENT_NAME,
        "driver_info": None,  # Two commands less at each connection, and two rights less for the gate's user.
        "protocol": 2,  # With the third come notifications that nobody asks for, and HELLO, which may be told on.
    }


def _login(user: str, password: str) -> dict[str, Any]:
    return {"username": user or None, "password": password or None}


def _tls(address: RedisAddress) -> dict[str, Any]:
    if not address.tls:
        return {}
    if address.authorities:
        try:
            ssl.create_default_context(cafile=address.authorities)
        except OSError as error:  # `ssl.SSLError` is one, too.
            raise Misconfigured(
                "The file that ssl_ca_certs names in the URL of Redis holds no certificates."
            ) from error
    return {
        "ssl": True,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_ca_certs": address.authorities or None,
    }
