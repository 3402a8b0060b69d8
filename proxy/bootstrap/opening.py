"""Open the gate over what is kept and what counts."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from proxy.admin.cli.tools import Standing
from proxy.admin.desk import Desk
from proxy.admin.office import LimitsOffice
from proxy.auth import api_keys
from proxy.auth.authenticator import Authenticator
from proxy.backends.http import HttpBackend, Patience
from proxy.backends.upstream import OneBackend
from proxy.bootstrap import clocks
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


def desk_over(kept: Records, settings: Settings, office: LimitsOffice) -> Desk:
    def mint() -> tuple[str, str, bytes]:
        key_id, key = api_keys.new(secrets.token_bytes)
        return key_id, key, api_keys.digest(key, pepper_of(settings))

    return Desk(kept.keys, kept.book, settings.plan_table(), mint, clocks.now, canonical_pattern, office)


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
    async with books(settings, kept, listeners) as booked, counting(settings, kept.book) as counts:
        patience = Patience(settings.connect_timeout, settings.first_byte_timeout, settings.idle_timeout)
        backend = HttpBackend(Backend("ollama", settings.upstream), patience)
        upstream = OneBackend[Name, Installed](backend, read_tags, time.monotonic)
        ledger = booked.ledger
        plans = settings.plan_table()
        authenticator = Authenticator(kept.keys, plans, pepper_of(settings), clock=time.monotonic, now=clocks.now)
        manners = Manners(
            settings.max_body, settings.body_timeout, settings.stall_timeout, origins=settings.cors_origins
        )
        answers = Answers(upstream, own_routes(settings, kept, counts))
        gateway = Gateway(counts.strangers, authenticator, counts.limiter, answers, ledger)
        server = Server(FrontDoor(gateway, manners, now=clocks.now, new_id=clocks.new_call_id), manners)
        refreshing = asyncio.create_task(upstream.keep_fresh())
        try:
            listening = await _listen(server, settings)
            try:
                port = listening.sockets[0].getsockname()[1]
                yield Opened(await _standing(settings, kept, upstream, port), counts, plans, booked)
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
    live = [key for key in await kept.keys.all() if key.state(clocks.now()) == "live"]
    return Standing(
        address=settings.model_copy(update={"listen": f"{settings.listen.rpartition(':')[0]}:{port}"}).address,
        upstream=settings.upstream,
        upstream_answers=version is not None,
        upstream_version=version,
        keys=len(live),
        public=settings.public,
        state_dir=settings.state_dir,
    )
