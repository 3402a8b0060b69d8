"""Open the gate over what is kept and what counts."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.admin.cli.tools import Standing
from proxy.backends.http import HttpBackend, Patience
from proxy.backends.upstream import OneBackend
from proxy.bootstrap import clocks
from proxy.bootstrap.authenticating import Doorkeepers, doorkeepers
from proxy.bootstrap.bookkeeping import Books, books
from proxy.bootstrap.descriptors import held, raised
from proxy.bootstrap.draining import Draining
from proxy.bootstrap.encrypting import encrypting
from proxy.bootstrap.gathering import Gathering
from proxy.bootstrap.limiting import Counting, counting
from proxy.bootstrap.listening import Listening, listen
from proxy.bootstrap.storage import Records
from proxy.bootstrap.telling import Known, telling
from proxy.bootstrap.tracing import TracedDoor, believing, tracing
from proxy.bootstrap.workers import Place
from proxy.config.settings import Settings
from proxy.gateway import Gateway
from proxy.late import late
from proxy.ledger import Listener
from proxy.own import Flowing, Own
from proxy.own.answers import Answers
from proxy.own.bounded import Bounded
from proxy.own.doctor import OwnDoctor
from proxy.own.key import OwnKey
from proxy.own.usage import OwnUsage
from proxy.policy.models import Name
from proxy.policy.permit import Installed, read_tags
from proxy.vocabulary import Backend, Plan
from proxy.web.addresses import trusting
from proxy.web.app import FrontDoor, Server
from proxy.web.connection import accept_errors_told, require_strict_parser
from proxy.web.manners import Manners
from proxy.web.tls import Tls

if TYPE_CHECKING:
    from proxy.telemetry import metrics as figures
else:
    figures = late("proxy.telemetry.metrics")


@dataclass(frozen=True, slots=True)
class Opened:
    """A gate at work."""

    standing: Standing
    counting: Counting
    plans: dict[str, Plan]
    """By their names. Whatever is put in here holds from the next call on."""
    books: Books
    who: Doorkeepers
    draining: Draining
    tls: Tls | None
    """None where the gate speaks plain HTTP."""
    gathering: Gathering | None = None
    """None where there is no admin listener, or this is the only process of the gate."""


def own_routes(settings: Settings, kept: Records, counts: Counting) -> dict[str, Own]:
    """The routes that the gate answers itself, by their paths."""
    return {
        "/v1/key": OwnKey(counts.limiter, Bounded(time.monotonic)),
        "/v1/usage": OwnUsage(kept.book, Bounded(time.monotonic), clocks.now, settings.time_zone),
    }


def manners_of(settings: Settings) -> Manners:
    """What is asked of clients. Raises Misconfigured where so many cannot be held."""
    door = settings.door
    connections = None if door.connections is None else -(-door.connections // settings.workers)
    return Manners(
        settings.max_body,
        settings.body_timeout,
        settings.stall_timeout,
        origins=settings.cors_origins,
        head_timeout=door.head_timeout,
        body_rate=door.body_rate,
        connections=held(connections, raised()),
        connections_per_address=door.connections_per_address,
        requests_per_connection=door.requests_per_connection,
    )


@asynccontextmanager
async def gate(
    settings: Settings,
    kept: Records,
    listeners: Sequence[Listener],
    hastened: asyncio.Event | None = None,
    place: Place | None = None,
) -> AsyncIterator[Opened]:
    """The gate, open. Leaving it stops listening, lets calls end within the drain timeout, and writes every line.

    Once it is ``hastened`` it waits for no call. It is the whole gate, or one worker of it in this ``place``. Raises
    Misconfigured where it cannot listen or hold the connections.
    """
    require_strict_parser()
    manners = manners_of(settings)
    plans = settings.plan_table()
    metrics = figures.Metrics() if settings.admin_listen is not None else None
    async with (
        tracing(settings) as traces,
        encrypting(settings.tls) as tls,
        books(settings, kept, [*listeners, *(one for one in (metrics, traces) if one is not None)]) as booked,
        counting(settings, kept.book) as counts,
        doorkeepers(settings, kept, plans) as who,
    ):
        patience = Patience(settings.connect_timeout, settings.first_byte_timeout, settings.idle_timeout)
        besides = traces.passed_on if traces and settings.traces.pass_traceparent else None
        backend = HttpBackend(Backend("ollama", settings.upstream), patience, besides)
        upstream = OneBackend[Name, Installed](backend, read_tags, time.monotonic)
        ledger = booked.ledger
        flowing: dict[str, Flowing] = {"/v1/doctor": OwnDoctor(time.monotonic)}
        answers = Answers(upstream, own_routes(settings, kept, counts), flowing)
        gateway = Gateway(counts.strangers, who.authenticator, counts.limiter, answers, ledger)
        trusted = settings.trusted_networks
        front_door = FrontDoor(gateway, manners, now=clocks.now, new_id=clocks.new_call_id, trusted=trusted)
        door = TracedDoor(front_door, traces, believing(settings)) if traces else front_door
        server = Server(door, manners, trusting(trusted), proxy_protocol=settings.door.proxy_protocol)
        draining = Draining(delay=settings.drain_delay, patience=settings.drain_timeout, hastened=hastened)
        is_replacement = bool(place and not place.is_first)
        known = Known(settings, counts, booked, who, draining, upstream, server, is_replacement, tls, traces)
        gathering = Gathering(place, known.readiness, metrics, time.monotonic) if place and metrics else None
        refreshing = asyncio.create_task(upstream.keep_fresh())
        try:
            told = telling(known, metrics, manners, gathering, place.admin if place else ())
            async with told as admin_address:
                listening = await listen(server, settings.listen, tls, place.door if place else ())
                try:
                    with accept_errors_told(server.tally):
                        standing = await _standing(settings, kept, upstream, listening, admin_address)
                        yield Opened(standing, counts, plans, booked, who, draining, tls, gathering)
                finally:
                    await draining.drain(listening, server, ledger)
        finally:
            refreshing.cancel()
            await asyncio.wait([refreshing])
            await backend.close()


async def _standing(
    settings: Settings,
    kept: Records,
    upstream: OneBackend[Name, Installed],
    listening: Listening,
    admin_address: str | None,
) -> Standing:
    port = listening.port
    version = await upstream.version()
    live = [key for key in await kept.registry.keys() if key.state(clocks.now()) == "live"]
    return Standing(
        address=settings.model_copy(update={"listen": f"{settings.listen.rpartition(':')[0]}:{port}"}).address,
        upstream=settings.upstream,
        upstream_answers=version is not None,
        upstream_version=version,
        keys=len(live),
        readable=settings.readable,
        state_dir=settings.state_dir,
        admin_address=admin_address,
        admin_public=settings.admin_public,
    )
