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
from proxy.bootstrap.limiting import Counting, counting
from proxy.bootstrap.storage import Records, pepper_of
from proxy.config.settings import Settings
from proxy.errors import Misconfigured
from proxy.gateway import Gateway
from proxy.ledger import Listener
from proxy.own import Own
from proxy.own.answers import Answers
from proxy.own.bounded import Bounded
from proxy.own.key import OwnKey
from proxy.own.usage import OwnUsage
from proxy.policy.models import Name, canonical_pattern
from proxy.policy.permit import Installed, read_tags
from proxy.vocabulary import Backend, Plan
from proxy.web.app import FrontDoor, Server
from proxy.web.manners import Manners


@dataclass(frozen=True, slots=True)
class Opened:
    """A gate at work."""

    standing: Standing
    counting: Counting
    plans: dict[str, Plan]
    """By their names. Whatever is put in here holds from the next call on."""
    books: Books
    who: Doorkeepers


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


@asynccontextmanager
async def gate(settings: Settings, kept: Records, listeners: Sequence[Listener]) -> AsyncIterator[Opened]:
    """The gate, open. Leaving it stops listening, lets calls end within the drain timeout, and writes every line.

    Raises Misconfigured where it cannot listen.
    """
    plans = settings.plan_table()
    async with (
        books(settings, kept, listeners) as booked,
        counting(settings, kept.book) as counts,
        doorkeepers(settings, kept, plans) as who,
    ):
        patience = Patience(settings.connect_timeout, settings.first_byte_timeout, settings.idle_timeout)
        backend = HttpBackend(Backend("ollama", settings.upstream), patience)
        upstream = OneBackend[Name, Installed](backend, read_tags, time.monotonic)
        ledger = booked.ledger
        manners = Manners(
            settings.max_body, settings.body_timeout, settings.stall_timeout, origins=settings.cors_origins
        )
        answers = Answers(upstream, own_routes(settings, kept, counts))
        gateway = Gateway(counts.strangers, who.authenticator, counts.limiter, answers, ledger)
        server = Server(FrontDoor(gateway, manners, now=clocks.now, new_id=clocks.new_call_id), manners)
        refreshing = asyncio.create_task(upstream.keep_fresh())
        try:
            listening = await _listen(server, settings)
            try:
                port = listening.sockets[0].getsockname()[1]
                yield Opened(await _standing(settings, kept, upstream, port), counts, plans, booked, who)
            finally:
                listening.close()
                server.pre_shutdown()
                await ledger.idle(settings.drain_timeout)
                ledger.stopping = True
                await server.shutdown(1.0)
                await ledger.idle(1.0)  # A call that is cut still takes what its backend has said already.
                await ledger.settled()
        finally:
            refreshing.cancel()
            await asyncio.wait([refreshing])
            await backend.close()


async def _listen(server: Server, settings: Settings) -> asyncio.Server:
    try:
        return await asyncio.get_running_loop().create_server(server, settings.host, settings.port, backlog=1024)
    except OSError as error:
        raise Misconfigured(f"Cannot listen on {settings.listen}: {error.strerror or 'no such address'}.") from error


async def _standing(settings: Settings, kept: Records, upstream: OneBackend[Name, Installed], port: int) -> Standing:
    version = await upstream.version()
    live = [key for key in await kept.registry.keys() if key.state(clocks.now()) == "live"]
    return Standing(
        address=settings.model_copy(update={"listen": f"{settings.listen.rpartition(':')[0]}:{port}"}).address,
        upstream=settings.upstream,
        upstream_answers=version is not None,
        upstream_version=version,
        keys=len(live),
        public=settings.public,
        state_dir=settings.state_dir,
    )
