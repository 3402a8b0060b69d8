import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.bootstrap.desks import desk_over
from proxy.bootstrap.opening import Opened
from proxy.bootstrap.opening import gate as open_over
from proxy.bootstrap.storage import Records, records
from proxy.config.settings import Settings
from proxy.vocabulary import Entry, Outcome, Tongue
from tests.conftest import OWNER, Heard
from tests.fakes.answers import NATIVE_LINES, NDJSON, STREAMS, question
from tests.fakes.eventually import eventually
from tests.fakes.raw_client import RawClient, Told
from tests.fakes.upstream import LAST_CHUNK, RecordingUpstream, chunk, streaming

STREAMS_OPEN = 20


class House:
    """A gate that a test closes by itself."""

    def __init__(self, settings: Settings, kept: Records, hastened: asyncio.Event) -> None:
        self.heard = Heard()
        self.hastened = hastened
        self.kept = kept
        self.opened: Opened
        self.key = ""
        self._settings = settings
        self._open = AsyncExitStack()
        self._clients: list[RawClient] = []

    async def begin(self) -> None:
        gate = open_over(self._settings, self.kept, [self.heard], self.hastened)
        self.opened = await self._open.enter_async_context(gate)
        desk = desk_over(self.kept, self._settings, self.opened.counting.office, OWNER)
        self.key = (await desk.create_key("alice")).secret

    async def connect(self, window: int | None = None) -> RawClient:
        port = int(self.opened.standing.address.rpartition(":")[2])
        client = await RawClient.connect("127.0.0.1", port, window=window)
        self._clients.append(client)
        return client

    async def asking(self, path: str = "/api/chat", window: int | None = None, **members: object) -> RawClient:
        client, body = await self.connect(window), json.dumps(question(**members)).encode()
        fields = f"Host: a\r\nAuthorization: Bearer {self.key}\r\nContent-Length: {len(body)}"
        await client.send(f"POST {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body)
        return client

    async def admin(self, path: str) -> Told:
        address = self.opened.standing.admin_address
        assert address is not None
        client = await RawClient.connect("127.0.0.1", int(address.rpartition(":")[2]))
        try:
            await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            return await client.told()
        finally:
            client.close()

    def stopping(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._open.aclose())

    async def stopping_begun(self) -> asyncio.Task[None]:
        stopping = self.stopping()

        async def has_begun() -> bool | None:
            return self.opened.draining.has_begun or None

        await eventually(has_begun, 20, "the beginning of the end")
        return stopping

    async def accepted(self, count: int) -> None:
        """Return once so many connections are the gate's."""

        async def look() -> bool | None:
            return f"\nllamagate_connections {count}.0\n".encode() in (await self.admin("/metrics")).body or None

        await eventually(look, 20, f"{count} connections")

    async def under_way(self) -> int | None:
        return len(self.opened.books.ledger.open) or None

    async def end(self) -> None:
        for client in self._clients:
            client.close()
        self.hastened.set()
        await self._open.aclose()

    async def written(self) -> list[Entry]:
        return await self.kept.book.last(1000)


@asynccontextmanager
async def house(upstream: RecordingUpstream, folder: Path, **told: Any) -> AsyncIterator[House]:
    defaults = {"listen": "127.0.0.1:0", "upstream": upstream.url, "state_dir": folder}
    settings = Settings.model_validate({**defaults, **told})
    async with records(settings) as kept:
        here = House(settings, kept, asyncio.Event())
        await here.begin()
        try:
            yield here
        finally:
            await here.end()


def stuck(tongue: Tongue) -> tuple[Any, ...]:
    """A stream of which only the first piece ever comes."""
    _, content_type, pieces = STREAMS[tongue]
    return streaming(content_type), chunk(pieces[0]), asyncio.Event()


@pytest.mark.parametrize("tongue", STREAMS)
async def test_a_stream_that_outlasts_the_patience_ends_with_an_error_in_its_dialect_and_uncleanly(
    upstream: RecordingUpstream, tmp_path: Path, tongue: Tongue
) -> None:
    path, content_type, pieces = STREAMS[tongue]
    async with house(upstream, tmp_path, drain_timeout=0.0) as gate:
        upstream.says(*stuck(tongue))
        more: dict[str, Any] = {"input": "why?"} if tongue is Tongue.RESPONSES else {}
        client = await gate.asking(path, stream=True, max_tokens=64, **more)
        await client.until(pieces[0])
        await gate.stopping()
        told = await client.told()
        (entry,) = await gate.written()

    assert (200, False) == (told.status, told.clean)
    words = told.body.removeprefix(pieces[0])
    assert b"gate_stopping" in words or b"is being stopped" in words
    assert words.endswith(b"\n" if content_type == NDJSON else b"\n\n")
    assert (Outcome.GATE_FAILED, 200, "gate_stopping") == (entry.outcome, entry.status, entry.reason)
    assert entry.usage.prompt_tokens > 0
    assert not entry.usage.exact
    async with asyncio.timeout(20):
        await upstream.connections[-1].closed.wait()


async def test_twenty_streams_are_told_and_written_when_the_gate_waits_no_longer(
    upstream: RecordingUpstream, tmp_path: Path
) -> None:
    async with house(upstream, tmp_path, drain_timeout=0.05) as gate, asyncio.timeout(20):
        upstream.says(*stuck(Tongue.OLLAMA))
        clients = [await gate.asking() for _ in range(STREAMS_OPEN)]
        for client in clients:
            await client.until(NATIVE_LINES[0])
        await gate.stopping()
        told = [await client.told() for client in clients]
        entries = await gate.written()

    assert [(200, False)] * STREAMS_OPEN == [(one.status, one.clean) for one in told]
    assert all(b"is being stopped" in one.body for one in told)
    assert ["gate_stopping"] * STREAMS_OPEN == [entry.reason for entry in entries]
    assert {entry.id for entry in entries} == {entry.id for entry in gate.heard.entries}
    assert 0 == gate.opened.counting.local.under_way


async def test_streams_that_end_in_time_end_as_if_nothing_were(upstream: RecordingUpstream, tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with house(upstream, tmp_path, drain_timeout=30.0) as gate, asyncio.timeout(20):
        upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), go_on, chunk(NATIVE_LINES[2]), LAST_CHUNK)
        clients = [await gate.asking() for _ in range(STREAMS_OPEN)]
        for client in clients:
            await client.until(NATIVE_LINES[0])
        stopping = await gate.stopping_begun()
        go_on.set()
        told = [await client.told() for client in clients]
        await stopping
        entries = await gate.written()

    assert [(NATIVE_LINES[0] + NATIVE_LINES[2], True)] * STREAMS_OPEN == [(one.body, one.clean) for one in told]
    assert [(Outcome.SERVED, 26, 3)] * STREAMS_OPEN == [
        (entry.outcome, entry.usage.prompt_tokens, entry.usage.completion_tokens) for entry in entries
    ]


async def test_idle_connections_close_at_once_and_the_others_after_their_answers(
    upstream: RecordingUpstream, tmp_path: Path
) -> None:
    go_on = asyncio.Event()
    async with house(upstream, tmp_path, drain_timeout=600.0, admin_listen="127.0.0.1:0") as gate, asyncio.timeout(20):
        upstream.says(streaming(NDJSON), chunk(NATIVE_LINES[0]), go_on, chunk(NATIVE_LINES[2]), LAST_CHUNK)
        busy = await gate.asking()
        await busy.until(NATIVE_LINES[0])
        idle, fresh, begun = await gate.connect(), await gate.connect(), await gate.connect()
        await idle.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        await idle.told()
        await begun.send(b"GET /healthz HTT")
        await gate.accepted(4)
        stopping = await gate.stopping_begun()

        assert [b"", b"", b""] == [await client.closed() for client in (idle, fresh, begun)]
        assert not stopping.done()

        go_on.set()

        assert (await busy.told()).clean
        assert b"" == await busy.closed()
        await stopping


async def test_a_call_that_has_heard_nothing_yet_is_refused_with_a_status(
    upstream: RecordingUpstream, tmp_path: Path
) -> None:
    async with house(upstream, tmp_path, drain_timeout=0.0) as gate:
        upstream.says(asyncio.Event())
        client = await gate.asking()
        await upstream.next()
        await gate.stopping()
        told = await client.told()
        (entry,) = await gate.written()

    assert (503, "5", True) == (told.status, told.fields["retry-after"], told.clean)
    assert b"is being stopped" in told.body
    assert (Outcome.GATE_FAILED, 503, "gate_stopping") == (entry.outcome, entry.status, entry.reason)


async def test_a_call_whose_body_is_still_coming_is_refused_with_a_status(
    upstream: RecordingUpstream, tmp_path: Path
) -> None:
    async with house(upstream, tmp_path, drain_timeout=0.0) as gate:
        client = await gate.connect()
        fields = f"Host: a\r\nAuthorization: Bearer {gate.key}\r\nContent-Length: 1000"
        await client.send(f"POST /api/chat HTTP/1.1\r\n{fields}\r\n\r\n{{".encode())
        await eventually(gate.under_way, 20, "a call under way")
        await gate.stopping()
        told = await client.told()
        (entry,) = await gate.written()

    assert (503, False) == (told.status, told.keeps_alive)
    assert ("gate_stopping", 0) == (entry.reason, entry.usage.prompt_tokens)


async def test_a_gate_that_is_hastened_waits_no_longer(upstream: RecordingUpstream, tmp_path: Path) -> None:
    async with house(upstream, tmp_path, drain_timeout=600.0, drain_delay=600.0) as gate, asyncio.timeout(20):
        upstream.says(*stuck(Tongue.OLLAMA))
        client = await gate.asking()
        await client.until(NATIVE_LINES[0])
        stopping = await gate.stopping_begun()
        late = await gate.asking()
        await late.until(NATIVE_LINES[0])

        assert not stopping.done()

        gate.hastened.set()
        await stopping
        told = [await one.told() for one in (client, late)]
        entries = await gate.written()

    assert [False, False] == [one.clean for one in told]
    assert ["gate_stopping", "gate_stopping"] == [entry.reason for entry in entries]


async def test_readiness_fails_before_anything_else_changes(upstream: RecordingUpstream, tmp_path: Path) -> None:
    told = {"drain_delay": 600.0, "drain_timeout": 0.0, "admin_listen": "127.0.0.1:0"}
    async with house(upstream, tmp_path, **told) as gate, asyncio.timeout(20):
        before = await gate.admin("/readyz")
        stopping = await gate.stopping_begun()
        after = await gate.admin("/readyz")
        client = await gate.connect()
        await client.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        alive = await client.told()
        draining = (await gate.admin("/metrics")).body

        assert (200, True) == (before.status, json.loads(before.body)["ready"])
        assert (503, ["draining"]) == (after.status, json.loads(after.body)["failing"])
        assert (200, True, False) == (alive.status, alive.keeps_alive, stopping.done())
        assert b"\nllamagate_draining 1.0\n" in draining

        gate.hastened.set()
        await stopping

        assert b"" == await client.closed()


async def test_a_client_that_takes_nothing_does_not_hold_the_gate_open(
    upstream: RecordingUpstream, tmp_path: Path
) -> None:
    piece = b'{"message":{"content":"' + b"a" * 60_000 + b'"},"done":false}\n'
    async with house(upstream, tmp_path, drain_timeout=0.0, stall_timeout=600.0) as gate, asyncio.timeout(10):
        upstream.says(streaming(NDJSON), *[chunk(piece)] * 400, asyncio.Event())
        client = await gate.asking(window=4096)
        await client.until(b'"content":"')
        await gate.stopping()
        (entry,) = await gate.written()

    assert (Outcome.GATE_FAILED, "gate_stopping") == (entry.outcome, entry.reason)
