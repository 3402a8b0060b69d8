"""The Redis in which several gates count: will it know tomorrow what was used today, and who else can write in it?"""

from collections.abc import Iterator
from dataclasses import dataclass

from proxy.doctor.findings import PRIVATE, Finding, critical, info, ok, warning

OLDEST = (6, 0)
"""The first with users of their own, TLS, and scripts that may ask for the time before they write."""
_SETS = 'redis-cli CONFIG SET {} && redis-cli CONFIG REWRITE, or "{}" in redis.conf'


@dataclass(frozen=True, slots=True)
class Redis:
    """One server, as it tells of itself."""

    name: str
    """Where it is, without a password."""
    failure: str | None = None
    """Why it cannot be asked; None where it could."""
    version: str = ""
    is_local: bool = True
    """Whether it is asked on this machine's loopback or by a socket in the file system."""
    is_private: bool = False
    """Whether somebody has said that nobody else is in the network between."""
    has_tls: bool = False
    asks_for_password: bool | None = None
    """Whether it tells nothing to whoever has none; None where nobody could tell."""
    appends: bool | None = None
    """Whether what is written goes to a file of appended commands (AOF)."""
    appending_fails: bool = False
    snapshots: bool | None = None
    """Whether it writes snapshots from time to time; None where it does not tell."""
    evicts: str = ""
    """``maxmemory-policy``."""
    most_memory: int = 0
    """Bytes; 0 where there is no bound."""
    is_replica: bool = False


def none(*, workers: int) -> Finding:
    """There is none; ``workers`` are the gate's processes."""
    return info(
        "redis.reachable",
        "No Redis is set: limits are counted in this gate's own memory.",
        "That is right for one gate; several would each grant every limit anew."
        if workers == 1
        else "Several processes need one.",
        'redis_url = "redis://:PASSWORD@127.0.0.1:6379/0", once there is more than one gate',
    )


def findings(redis: Redis) -> Iterator[Finding]:
    if redis.failure is not None:
        yield critical(
            "redis.reachable",
            f"The Redis at {redis.name} cannot be asked: {redis.failure}.",
            "What holds meanwhile is what on_redis_failure says: by default a share of each limit in every gate.",
            "systemctl start redis-server; redis-cli -u URL PING with the URL of redis_url must say PONG",
        )
        return
    yield ok("redis.reachable", f"The Redis at {redis.name} answers.")
    yield from _version(redis)
    yield from _keeping(redis)
    yield from _guarding(redis)


def _version(redis: Redis) -> Iterator[Finding]:
    parts = redis.version.split(".")
    numbers = tuple(int(one) for one in parts[:2] if one.isdecimal())
    if len(numbers) < 2:
        yield info("redis.version", "The Redis does not tell its version.")
    elif numbers < OLDEST:
        yield warning(
            "redis.version",
            f"The Redis is version {redis.version}.",
            "Nobody mends that any more, and it has neither users nor TLS.",
            "Install Redis 7 or newer, or Valkey",
        )
    else:
        yield ok("redis.version", f"The Redis is version {redis.version}.")


def _keeping(redis: Redis) -> Iterator[Finding]:
    if redis.is_replica:
        yield critical(
            "redis.role",
            f"The Redis at {redis.name} is a replica, which takes no writes.",
            "Nothing can be counted there.",
            "Name the master in redis_url, or the sentinels: redis+sentinel://HOST:26379/SERVICE",
        )
    if redis.appending_fails:
        yield critical(
            "redis.persistence",
            "The Redis could not write its last commands to disk.",
            "After a restart budgets of days and months begin anew.",
            "df -h on the disk of Redis, then its log",
        )
    elif redis.appends:
        yield ok("redis.persistence", "The Redis keeps what was counted on disk (AOF).")
    elif redis.appends is not None:
        only = "only snapshots" if redis.snapshots else "nothing"
        yield warning(
            "redis.persistence",
            f"The Redis keeps {only} on disk: appendonly is no.",
            "After a restart what was used today and this month is forgotten, as far back as the last snapshot.",
            _SETS.format("appendonly yes", "appendonly yes"),
        )
    if redis.evicts and redis.evicts != "noeviction":
        say = warning if redis.most_memory else info
        yield say(
            "redis.eviction",
            f"The Redis may forget keys when its memory is full: maxmemory-policy is {redis.evicts}.",
            "Whoever's counts are forgotten has used nothing, and a signature that was seen could be used again.",
            _SETS.format("maxmemory-policy noeviction", "maxmemory-policy noeviction"),
        )
    elif redis.evicts:
        yield ok("redis.eviction", "The Redis forgets nothing before its time.")


def _guarding(redis: Redis) -> Iterator[Finding]:
    if redis.asks_for_password:
        yield ok("redis.password", "The Redis asks for a password.")
    elif redis.asks_for_password is not None:
        say = warning if redis.is_local else critical
        yield say(
            "redis.password",
            f"The Redis at {redis.name} answers whoever has no password.",
            "Whoever reaches it can take every limit away, or use up everybody's.",
            # Not by CONFIG SET: redis-cli has no right to CONFIG REWRITE from then on, and a restart forgets it.
            '"requirepass PASSWORD" in redis.conf (openssl rand -hex 32), systemctl restart redis-server, and '
            'redis_url = "redis://:PASSWORD@HOST:6379/0"',
        )
    open_way = f"The way to the Redis at {redis.name} is not encrypted."
    if redis.is_local or redis.has_tls:
        return
    if redis.is_private:
        yield info("redis.tls", open_way, PRIVATE)
    else:
        yield warning(
            "redis.tls",
            open_way,
            "Whoever is on the way reads the password, and could say what was never said.",
            'redis_url = "rediss://:PASSWORD@HOST:6379/0" and tls-port in redis.conf, unless that network is the '
            "gate's and the Redis's alone",
        )
