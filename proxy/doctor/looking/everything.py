"""All looks together, so that all of them take no longer than the slowest."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from proxy.config.addresses import host_and_port
from proxy.config.load import Loaded
from proxy.config.settings import Settings
from proxy.doctor import certificates, clocks, files, front, gate, machine, ollama
from proxy.doctor import database as databases
from proxy.doctor import redis as redises
from proxy.doctor.findings import Finding
from proxy.doctor.gate import Gate
from proxy.doctor.looking import PATIENCE_SECONDS
from proxy.doctor.looking import certificates as see_certificates
from proxy.doctor.looking import files as see_files
from proxy.doctor.looking import front as see_front
from proxy.doctor.looking import machine as see_machine
from proxy.doctor.looking import ollama as ask_ollama
from proxy.late import late
from proxy.schema import NEWEST
from proxy.vocabulary import Clock, Now, RedisAddress

if TYPE_CHECKING:
    from proxy.doctor.looking import database as ask_database
    from proxy.doctor.looking import redis as ask_redis
else:
    ask_database = late("proxy.doctor.looking.database")
    ask_redis = late("proxy.doctor.looking.redis")


@dataclass(frozen=True, slots=True)
class Means:
    """What the looks need beside the settings."""

    now: Now
    clock: Clock
    running: Callable[[Settings], Awaitable[Gate]]
    """What the gate is, and what it says where it runs."""
    secret_files: Iterable[str] = ()
    """Those that variables name."""
    addresses: Callable[[], Iterable[str]] = see_machine.addresses
    """This machine's own, without loopback."""
    trusting: ssl.SSLContext | None = field(default=None, repr=False)
    """Whom clients believe; without it, the usual authorities."""
    private: frozenset[str] = frozenset()
    """Hosts, as the settings name them, in networks where somebody has said that nobody else is."""
    patience: float = PATIENCE_SECONDS


async def inside(loaded: Loaded, means: Means) -> list[Finding]:
    """From the machine that the gate is on. Needs neither it nor what it depends on to run."""
    settings = loaded.settings
    looks = (
        _gate(settings, means),
        _ollama(settings, means),
        _redis(settings, means),
        _database(settings, means),
        _certificate(settings, means),
        _machine(settings, means),
        _files(loaded, means),
    )
    return [finding for found in await asyncio.gather(*looks) for finding in found]


async def outside(url: str, key: str | None, wait: float, means: Means) -> list[Finding]:
    """Through whatever stands in front of it. ValueError for a URL that is none."""
    seen = await see_front.look(url, key, wait=wait, clock=means.clock, tls=means.trusting, patience=means.patience)
    return list(front.findings(seen, means.now()))


async def _gate(settings: Settings, means: Means) -> list[Finding]:
    found = await means.running(settings)
    at = settings.admin_listen
    is_private = at is not None and host_and_port(at)[0] in means.private
    return list(gate.findings(replace(found, admin_private=is_private)))


async def _ollama(settings: Settings, means: Means) -> list[Finding]:
    wants_cloud = any(plan.cloud or plan.owner for plan in settings.plans.values())
    found, clock = await ask_ollama.look(
        settings.upstream, means.addresses(), clock=means.clock, now=means.now, patience=means.patience
    )
    return [*ollama.findings(found, wants_cloud=wants_cloud), *_clocks(clock)]


async def _redis(settings: Settings, means: Means) -> list[Finding]:
    if settings.redis is None:
        return [redises.none(workers=settings.workers)]
    each = ask_redis.each(settings.redis)
    return [finding for found in await asyncio.gather(*(_one_redis(one, means) for one in each)) for finding in found]


async def _one_redis(address: RedisAddress, means: Means) -> list[Finding]:
    found, clock = await ask_redis.look(address, now=means.now, patience=means.patience)
    # Sentinels tell of a master that is elsewhere.
    is_private = not address.service and {host for host, _ in address.hosts} <= means.private
    return [*redises.findings(replace(found, is_private=is_private)), *_clocks(clock)]


async def _database(settings: Settings, means: Means) -> list[Finding]:
    found, clock = await ask_database.look(settings.database, now=means.now, patience=means.patience)
    found = replace(found, is_private={*ask_database.hosts(settings.database)} <= means.private)
    return [*databases.findings(found, NEWEST, has_issuers=bool(settings.issuers)), *_clocks(clock)]


async def _certificate(settings: Settings, means: Means) -> list[Finding]:
    found = await asyncio.to_thread(see_certificates.look, settings.tls, means.trusting)
    return [] if found is None else list(certificates.findings(found, means.now()))


async def _machine(settings: Settings, means: Means) -> list[Finding]:
    disk = await asyncio.to_thread(see_machine.disk, settings.state_dir, settings.ledger.spool)
    descriptors = see_machine.descriptors(settings.door.connections)
    return [*machine.descriptors(descriptors), *machine.disk(disk)]


async def _files(loaded: Loaded, means: Means) -> list[Finding]:
    return list(files.findings(await asyncio.to_thread(see_files.look, loaded, means.secret_files)))


def _clocks(clock: clocks.Clock | None) -> list[Finding]:
    return [] if clock is None else list(clocks.findings([clock]))
