"""Asks a Redis about itself. Changes nothing in it."""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import RedisError

from proxy.config.addresses import is_loopback
from proxy.doctor.clocks import Clock
from proxy.doctor.looking import PATIENCE_SECONDS, told, within
from proxy.doctor.redis import Redis
from proxy.errors import Misconfigured
from proxy.limits.redis import servers
from proxy.vocabulary import Now, RedisAddress

_FAILURES = (RedisError, OSError, ValueError, LookupError)
"""What redis-py raises, the last two where what answers is no Redis at all."""


def each(address: RedisAddress) -> list[RedisAddress]:
    """Of a cluster each node that was told, by itself: they are configured one by one."""
    if not address.cluster:
        return [address]
    return [replace(address, cluster=False, hosts=(host,)) for host in address.hosts]


async def look(address: RedisAddress, *, now: Now, patience: float = PATIENCE_SECONDS) -> tuple[Redis, Clock | None]:
    """Of one server, and how its clock stands where it tells."""
    hosts = ", ".join(f"{host}:{port}" for host, port in address.hosts)
    found = Redis(
        address.socket or hosts,
        is_local=bool(address.socket) or all(is_loopback(host) for host, _ in address.hosts),
        has_tls=address.tls,
    )

    async def asked() -> tuple[Redis, Clock | None]:
        try:
            return await _asked(address, found, now, patience)
        except Misconfigured as error:
            return replace(found, failure=error.message.rstrip(".")), None
        except _FAILURES as error:
            return replace(found, failure=_why(error)), None

    redis, clock = await within(patience, asked(), lambda why: (replace(found, failure=why), None))
    if redis.failure is None and not address.service:
        opened = within(patience, _asks_for_password(address), lambda _: None)
        redis = replace(redis, asks_for_password=await opened)
    return redis, clock


async def _asked(address: RedisAddress, found: Redis, now: Now, patience: float) -> tuple[Redis, Clock | None]:
    client = servers.client(address, patience)
    if isinstance(client, RedisCluster):
        raise TypeError("One of them at a time, see each().")
    try:
        before = now()
        seconds, micros = await client.time()
        after = now()
        facts: Mapping[str, Any] = {}
        with suppress(RedisError):  # The gate's user may not be allowed to ask, nor need to be.
            facts = await client.info()
        snapshots = None
        with suppress(RedisError):
            snapshots = bool((await client.config_get("save")).get("save"))
    finally:
        await client.aclose()
        if address.service:
            await client.connection_pool.sentinel_manager.aclose()  # type: ignore[attr-defined]
    read = replace(
        found,
        version=str(facts.get("redis_version", "")),
        appends=bool(facts["aof_enabled"]) if "aof_enabled" in facts else None,
        appending_fails=facts.get("aof_last_write_status", "ok") != "ok",
        snapshots=snapshots,
        evicts=str(facts.get("maxmemory_policy", "")),
        most_memory=int(facts.get("maxmemory", 0)),
        is_replica=facts.get("role") == "slave",
    )
    return read, _clock(seconds + micros / 1_000_000, before, after)


def _clock(theirs: float, before: datetime, after: datetime) -> Clock:
    middle = (before + (after - before) / 2).timestamp()
    return Clock("Redis", theirs - middle, (after - before).total_seconds() / 2)


def _why(error: Exception) -> str:
    """redis-py's own words may repeat what was sent; the first word of what Redis says is its code."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError):
        return told(cause)
    code = str(error).partition(" ")[0]
    if code.isupper() and code.isalpha():
        return f"it says {code}"
    return {"AuthenticationError": "it does not take the password"}.get(type(error).__name__, type(error).__name__)


async def _asks_for_password(address: RedisAddress) -> bool | None:
    """Whether it says nothing to somebody without one."""
    if address.socket:
        reader, writer = await asyncio.open_unix_connection(address.socket)
    else:
        ((host, port),) = address.hosts
        reader, writer = await asyncio.open_connection(host, port, ssl=_tls(address))
    try:
        # Not PING, which a careful owner leaves to everybody: by it a health check needs no secret.
        writer.write(b"DBSIZE\r\n")
        await writer.drain()
        answer = await reader.readline()
    finally:
        writer.transport.abort()
    return None if not answer else not answer.startswith(b":")


def _tls(address: RedisAddress) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=address.authorities or None) if address.tls else None
