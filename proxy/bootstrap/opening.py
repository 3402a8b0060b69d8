"""Open the gate over what is kept and what counts."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from proxy.admin.actor import Actor
from proxy.admin.cli.tools import Standing
from proxy.admin.desk import Desk
from proxy.admin.office import LimitsOffice
from proxy.auth import api_keys, ollama_identity
from proxy.backends.http import HttpBackend, Patience
from proxy.backends.upstream import OneBackend
from proxy.bootstrap import clocks
from proxy.bootstrap.authenticating import Doorkeepers, doorkeepers
from proxy.bootstrap.bookkeeping import Books, books
from proxy.bootstrap.descriptors import held, raised
from proxy.bootstrap.draining import Draining
from proxy.bootstrap.encrypting import encrypting
from proxy.bootstrap.limiting import Counting, counting
from proxy.bootstrap.listening import listen
from proxy.bootstrap.storage import Records, pepper_of
from proxy.bootstrap.telling import Known, telling
from proxy.config.settings import Settings
from proxy.gateway import Gateway
from proxy.ledger import Listener
from proxy.own import Own
from proxy.own.answers import Answers
from proxy.own.bounded import Bounded
from proxy.own.key import OwnKey
from proxy.own.usage import OwnUsage
from proxy.policy.models import Name, canonical_pattern
from proxy.policy.permit import Installed, read_tags
from proxy.telemetry.metrics import Metrics
from proxy.vocabulary import Backend, Plan
from proxy.web.addresses import trusting
from proxy.web.app import FrontDoor, Server
from proxy.web.connection import accept_errors_told, require_strict_parser
from proxy.web.manners import Manners
from proxy.web.tls import Tls


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


def desk_over(kept: Records, settings: Settings, office: LimitsOffice, actor: Actor) -> Desk:
    """What the owner can do; ``actor`` is who is told to have done it."""

    def mint(key_id: str | None) -> tuple[str, str, bytes]:
        new_id, key = api_keys.new(secrets.token_bytes, key_id)
        return new_id, key, api_keys.digest(key, pepper_of(settings))

    def read_identity(line: str) -> tuple[str, bytes]:
        public_key = ollama_identity.public_key(line)
        return ollama_identity.key_id_of(public_key), public_key

    return Desk(
        kept.registry,
        kept.book,
        settings.plan_table(),
        mint,
        clocks.now,
        canonical_pattern,
        office,
        actor,
        read_identity,
        settings.issuers.keys(),
    )


def own_routes(settings: Settings, kept: Records, counts: Counting) -> dict[str, Own]:
    """The routes that the gate answers itself, by their paths."""
    return {
        "/v1/key": OwnKey(counts.limiter, Bounded(time.monotonic)),
        "/v1/usage": OwnUsage(kept.book, Bounded(time.monotonic), clocks.now, settings.time_zone),
    }


def manners_of(settings: Settings) -> Manners:
    """What is asked of clients. Raises Misconfigured where so many cannot be held."""
    door = settings.door
    return Manners(
        settings.max_body,
        settings.body_timeout,
        settings.stall_timeout,
        origins=settings.cors_origins,
        head_timeout=door.head_timeout,
        body_rate=door.body_rate,
        connections=held(door.connections, raised()),
        connections_per_address=door.connections_per_address,
        requests_per_connection=door.requests_per_connection,
    )


@asynccontextmanager
async def gate(
    settings: Settings, kept: Records, listeners: Sequence[Listener], hastened: asyncio.Event | None = None
) -> AsyncIterator[Opened]:
    """The gate, open. Leaving it stops listening, lets calls end within the drain timeout, and writes every line.

    Once it is ``hastened`` it waits for no call. Raises Misconfigured where it cannot listen or hold the connections.
    """
    require_strict_parser()
    manners = manners_of(settings)
    plans = settings.plan_table()
    metrics = Metrics() if settings.admin_listen is not None else None
    async with (
        books(settings, kept, listeners if metrics is None else [*listeners, metrics]) as booked,
        counting(settings, kept.book) as counts,
        doorkeepers(settings, kept, plans) as who,
    ):
        patience = Patience(settings.connect_timeout, settings.first_byte_timeout, settings.idle_timeout)
        backend = HttpBackend(Backend("ollama", settings.upstream), patience)
        upstream = OneBackend[Name, Installed](backend, read_tags, time.monotonic)
        ledger = booked.ledger
        answers = Answers(upstream, own_routes(settings, kept, counts))
        gateway = Gateway(counts.strangers, who.authenticator, counts.limiter, answers, ledger)
        trusted = settings.trusted_networks
        front_door = FrontDoor(gateway, manners, now=clocks.now, new_id=clocks.new_call_id, trusted=trusted)
        server = Server(front_door, manners, trusting(trusted), proxy_protocol=settings.door.proxy_protocol)
        draining = Draining(delay=settings.drain_delay, patience=settings.drain_timeout, hastened=hastened)
        known = Known(settings, counts, booked, who, draining, upstream, server)
        refreshing = asyncio.create_task(upstream.keep_fresh())
        try:
            async with telling(known, metrics, manners) as admin_address, encrypting(settings.tls) as tls:
                listening = await listen(server, settings.listen, tls)
                try:
                    with accept_errors_told(server.tally):
                        standing = await _standing(settings, kept, upstream, listening, admin_address)
                        yield Opened(standing, counts, plans, booked, who, draining, tls)
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
    listening: asyncio.Server,
    admin_address: str | None,
) -> Standing:
    port = listening.sockets[0].getsockname()[1]
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
