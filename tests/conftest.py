"""The real gate on a real socket between a raw client and a scripted upstream, and what must hold after every call."""

import asyncio
import json
import logging
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, settings

from proxy.admin.actor import Actor
from proxy.admin.cli.tools import Standing
from proxy.admin.desk import Desk
from proxy.bootstrap.desks import desk_over
from proxy.bootstrap.opening import Opened
from proxy.bootstrap.opening import gate as open_over
from proxy.bootstrap.storage import Records, records
from proxy.config.settings import Settings
from proxy.vocabulary import Entry
from tests.fakes.eventually import eventually
from tests.fakes.raw_client import PATIENCE_SECONDS, RawClient, Told
from tests.fakes.upstream import RecordingUpstream, recording

pytest_plugins = ["tests.fakes.databases", "tests.fakes.redis", "tests.fakes.redis_proxy"]

# How long an example takes is the machine's business.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

OWNER = Actor("owner", "the tests")


class Heard:
    """A listener that keeps what it is told, in order, and can be waited for."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._news: asyncio.Queue[Entry] = asyncio.Queue()

    def recorded(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._news.put_nowait(entry)

    async def next(self) -> Entry:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._news.get()


@dataclass
class Gate:
    """The gate while it is open, and one of its callers."""

    opened: Opened
    kept: Records
    desk: Desk
    key: str = field(repr=False)
    heard: Heard = field(default_factory=Heard)
    clients: list[RawClient] = field(default_factory=list)

    @property
    def standing(self) -> Standing:
        return self.opened.standing

    async def connect(self, *, window: int | None = None) -> RawClient:
        there = urlsplit(self.standing.address)
        client = await RawClient.connect(there.hostname or "", there.port or 0, window=window)
        self.clients.append(client)
        return client

    async def issue(self, user: str, **terms: Any) -> str:
        return (await self.desk.create_key(user, **terms)).secret

    async def entry(self) -> Entry:
        """The next entry that nobody has looked at."""
        return await self.heard.next()

    async def written(self, count: int) -> list[Entry]:
        """What is in the book, once there are so many entries."""

        async def look() -> list[Entry] | None:
            found = await self.kept.book.last(10_000)
            return found if len(found) >= count else None

        return await eventually(look, 10, f"{count} lines in the book")

    def get(self, path: str, *fields: str, method: str = "GET", key: str | None = None) -> bytes:
        return self.request(method, path, *fields, key=key)

    def post(self, path: str, body: object, *fields: str, key: str | None = None, method: str = "POST") -> bytes:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request(method, path, f"Content-Length: {len(text)}", *fields, key=key) + text

    def request(self, method: str, path: str, *fields: str, key: str | None = None) -> bytes:
        """``key`` is the gate's own caller's where none is given, and no credential where it is empty."""
        key = self.key if key is None else key
        known = (f"Authorization: Bearer {key}",) if key else ()
        lines = (f"{method} {path} HTTP/1.1", "Host: gate.example", *known, *fields)
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")

    async def ask(self, request: bytes, *, bodiless: bool = False) -> Told:
        """One request on a connection of its own."""
        client = await self.connect()
        await client.send(request)
        told = await client.told(bodiless=bodiless)
        client.close()
        return told


OpenGate = Callable[..., Coroutine[Any, Any, Gate]]
"""Opens a gate; its keyword arguments are settings."""


@pytest.fixture
async def upstream() -> AsyncIterator[RecordingUpstream]:
    async with recording() as upstream:
        yield upstream


@pytest.fixture
async def open_gate(
    upstream: RecordingUpstream, tmp_path: Path, migrated: Path, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[OpenGate]:
    """Whatever a test does, each call has its one line in the book, and no key and no accident is in the log."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "aiosqlite")  # It tells of every cursor.
    gates: list[Gate] = []
    kept_open, ended_last = AsyncExitStack(), AsyncExitStack()

    async def opened(**told: Any) -> Gate:
        defaults = {
            "listen": "127.0.0.1:0",
            "upstream": upstream.url,
            "state_dir": tmp_path,
            "drain_timeout": 0.0,
            "limits": {"concurrent": 1000},  # Nobody's limit, so that each call holds a place and must give it back.
        }
        settings = Settings(**{**defaults, **told})
        if not (there := settings.state_dir / migrated.name).exists():
            settings.state_dir.mkdir(parents=True, exist_ok=True)
            shutil.copy(migrated, there)
        kept = await ended_last.enter_async_context(records(settings))
        heard = Heard()
        gate = await kept_open.enter_async_context(open_over(settings, kept, [heard]))
        desk = desk_over(kept, settings, gate.counting.office, OWNER)
        gates.append(Gate(gate, kept, desk, (await desk.create_key("alice")).secret, heard))
        upstream.forget()
        return gates[-1]

    async with ended_last:
        async with kept_open:
            yield opened
            for gate in gates:
                for client in gate.clients:
                    client.close()
        for gate in gates:
            written = {entry.id for entry in await gate.kept.book.last(10_000)}

            assert {entry.id for entry in gate.heard.entries} <= written
            assert len({entry.id for entry in gate.heard.entries}) == len(gate.heard.entries)
            assert gate.key not in caplog.text
            assert 0 == gate.opened.counting.local.under_way
    assert [] == [record.getMessage() for record in caplog.records if record.name == "asyncio" and record.levelno > 20]


@pytest.fixture
async def gate(open_gate: OpenGate) -> Gate:
    """A gate as it stands by default."""
    return await open_gate()
