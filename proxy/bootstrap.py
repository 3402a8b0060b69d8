"""The wiring: the one file that names concrete classes. It makes things and hands them on, and decides nothing."""

import asyncio
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

from proxy import schema
from proxy.admin.cli.tools import DemoTeller, Standing
from proxy.admin.desk import Desk
from proxy.auth import KeyStore, api_keys, pepper
from proxy.auth.authenticator import Authenticator
from proxy.auth.key_store_sql import SqlKeyStore
from proxy.backends.http import HttpBackend, Patience
from proxy.backends.upstream import OneBackend
from proxy.config import files
from proxy.config.load import Loaded, load
from proxy.config.settings import Settings
from proxy.demo import real as real_model
from proxy.demo import scripted, tour, weights
from proxy.demo.standing import Standing as DemoStanding
from proxy.errors import Misconfigured, StorageFailed
from proxy.gateway import Gateway
from proxy.ledger import Book, Listener
from proxy.ledger.line import Ledger
from proxy.ledger.sql import SqlBook
from proxy.ledger.writer import GroupWriter
from proxy.limits import Unlimited
from proxy.policy.models import Name, canonical_pattern
from proxy.policy.permit import Installed, read_tags
from proxy.schema import database
from proxy.telemetry import logs
from proxy.vocabulary import Backend, Entry
from proxy.web.app import FrontDoor, Server
from proxy.web.manners import Manners


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return f"req_{secrets.token_hex(12)}"


@dataclass(frozen=True, slots=True)
class Records:
    """What is kept in the database."""

    keys: KeyStore
    book: Book


@asynccontextmanager
async def records(settings: Settings) -> AsyncIterator[Records]:
    """The database, open and at the newest schema. Raises Misconfigured."""
    folder = settings.state_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (file := database.file_of(settings.database)) is not None:
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise Misconfigured(f"{error.filename or folder} cannot be used: {error.strerror}") from error
    engine = database.engine(settings.database)
    try:
        try:
            await schema.upgrade(engine, folder / "schema.lock")
        except StorageFailed as error:
            raise Misconfigured(f"The database cannot be opened: {error.why}") from error
        yield Records(SqlKeyStore(engine), SqlBook(engine))
    finally:
        await engine.dispose()


def pepper_of(settings: Settings) -> bytes:
    if settings.pepper is not None:
        return settings.pepper.get_secret_value().encode()
    return pepper.kept_in(settings.state_dir, secrets.token_bytes)


def desk_over(kept: Records, settings: Settings) -> Desk:
    def mint() -> tuple[str, str, bytes]:
        key_id, key = api_keys.new(secrets.token_bytes)
        return key_id, key, api_keys.digest(key, pepper_of(settings))

    return Desk(kept.keys, kept.book, settings.plan_table(), mint, _now, canonical_pattern)


@asynccontextmanager
async def gate(settings: Settings, kept: Records, listeners: Sequence[Listener]) -> AsyncIterator[Standing]:
    """The gate, open. Leaving it stops listening, lets calls end within the drain timeout, and writes every line.

    Raises Misconfigured where it cannot listen.
    """
    patience = Patience(settings.connect_timeout, settings.first_byte_timeout, settings.idle_timeout)
    backend = HttpBackend(Backend("ollama", settings.upstream), patience)
    upstream = OneBackend[Name, Installed](backend, read_tags, time.monotonic)
    writer = GroupWriter(kept.book)
    ledger = Ledger(writer, listeners, time.monotonic)
    authenticator = Authenticator(kept.keys, settings.plan_table(), pepper_of(settings), clock=time.monotonic, now=_now)
    manners = Manners(settings.max_body, settings.body_timeout, settings.stall_timeout, origins=settings.cors_origins)
    gateway = Gateway(authenticator, Unlimited(), upstream, ledger)
    server = Server(FrontDoor(gateway, manners, now=_now, new_id=_new_id), manners)
    writing = asyncio.create_task(writer.run())
    refreshing = asyncio.create_task(upstream.keep_fresh())
    try:
        listening = await _listen(server, settings)
        try:
            yield await _standing(settings, kept, upstream, listening.sockets[0].getsockname()[1])
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
        writer.close()
        await asyncio.wait([writing, refreshing])
        await backend.close()


async def _listen(server: Server, settings: Settings) -> asyncio.Server:
    try:
        return await asyncio.get_running_loop().create_server(server, settings.host, settings.port, backlog=1024)
    except OSError as error:
        raise Misconfigured(f"Cannot listen on {settings.listen}: {error.strerror or 'no such address'}.") from error


async def _standing(settings: Settings, kept: Records, upstream: OneBackend[Name, Installed], port: int) -> Standing:
    version = await upstream.version()
    live = [key for key in await kept.keys.all() if key.state(_now()) == "live"]
    return Standing(
        address=settings.model_copy(update={"listen": f"{settings.listen.rpartition(':')[0]}:{port}"}).address,
        upstream=settings.upstream,
        upstream_answers=version is not None,
        upstream_version=version,
        keys=len(live),
        public=settings.public,
        state_dir=settings.state_dir,
    )


class Workshop:
    """Implements ``admin.cli.tools.Tools`` with the real things."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def now(self) -> datetime:
        return _now()

    def load(self, config: Path | None, flags: Mapping[str, str]) -> Loaded:
        file = files.find(config, self._environment)
        return load(
            text=None if file is None else files.read(file),
            file=None if file is None else str(file),
            environment=self._environment,
            flags=flags,
            read_secret=files.read_secret,
            check_pattern=canonical_pattern,
        )

    @asynccontextmanager
    async def desk(self, settings: Settings) -> AsyncIterator[Desk]:
        async with records(settings) as kept:
            yield desk_over(kept, settings)

    async def serve(self, settings: Settings, started: Callable[[Standing], None]) -> None:
        pretty = sys.stdout.isatty() if settings.log_format == "auto" else settings.log_format == "pretty"
        logs.configure(pretty=pretty, level=settings.log_level)
        with _heeding_signals() as stop:  # From before the first call on: a call must not die with its line unwritten.
            async with records(settings) as kept, gate(settings, kept, [logs.CallLog()]) as standing:
                started(standing)
                await stop.wait()

    async def demo(self, real: bool, told: DemoTeller, stay: bool) -> None:
        logs.configure(pretty=False, level="error", stream=sys.stderr)
        stand_in = await (_real_model() if real else scripted.start())
        try:
            with tempfile.TemporaryDirectory(prefix="llamagate-demo-") as folder:
                # Not what the owner configured: a demo must touch nothing of theirs.
                settings = Settings(listen="127.0.0.1:0", upstream=stand_in.url, state_dir=Path(folder))
                await _tour(settings, told, stay)
        finally:
            await stand_in.stop()


async def _real_model() -> DemoStanding:
    folder = Path(platformdirs.user_cache_dir("llamagate", appauthor=False))
    file = weights.find(folder)
    if file is None:
        file = await asyncio.to_thread(weights.fetch, folder)
    return await real_model.start(file)


class _Heard:
    """A listener that keeps what it was told."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def recorded(self, entry: Entry) -> None:
        self.entries.append(entry)


async def _tour(settings: Settings, told: DemoTeller, stay: bool) -> None:
    heard = _Heard()
    async with records(settings) as kept:
        key = (await desk_over(kept, settings).create_key("alice", note="demo")).secret
        async with gate(settings, kept, [heard]) as standing:
            told.standing(standing)
            await tour.take(standing.address, key, told)
            for entry in heard.entries:
                told.entry(entry)
            told.paste(tour.to_go_on(standing.address, key))
            if stay:
                with _heeding_signals() as stop:
                    await stop.wait()


@contextmanager
def _heeding_signals() -> Iterator[asyncio.Event]:
    """Set at the first SIGTERM or SIGINT; the second does what it always does, for who will not wait."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def heed() -> None:
        stop.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, heed)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
