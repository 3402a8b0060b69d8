"""A server that answers as a script says, over plain sockets, and remembers every byte that it was sent.

It knows nothing of aiohttp, so that no mistake can be made twice and go unseen.
"""

import asyncio
import enum
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast


class End(enum.Enum):
    """How the server may end a connection."""

    CLOSE = "close"
    ABORT = "abort"
    """With a reset: what was written may be lost."""
    HALF = "half"
    """Nothing more is said, but it still listens."""


CLOSE, ABORT, HALF = End.CLOSE, End.ABORT, End.HALF


@dataclass(frozen=True, slots=True)
class Drip:
    """Bytes that come one by one."""

    data: bytes
    seconds: float
    """Between two of them."""


@dataclass(frozen=True, slots=True)
class Endless:
    """The same bytes as often as the other side takes them."""

    piece: bytes


Step = bytes | asyncio.Event | End | Drip | Endless
"""Bytes are sent, an event is waited for."""

LOOKING = "llamagate-catalogue"
INSTALLED = ("llama3.2:1b", "llama3.2:latest", "gemma3:latest", "gemma3:4b", "mistral:latest")
LAST_CHUNK = b"0\r\n\r\n"


def head(*fields: str, status: str = "200 OK") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *fields, "")).encode("latin-1")


def whole(body: bytes, content_type: str = "application/json", *fields: str, status: str = "200 OK") -> bytes:
    """An answer with its length."""
    said = (f"Content-Type: {content_type}",) if content_type else ()
    return head(*said, f"Content-Length: {len(body)}", *fields, status=status) + body


def streaming(content_type: str, *fields: str) -> bytes:
    """The head of an answer in chunks."""
    return head(f"Content-Type: {content_type}", "Transfer-Encoding: chunked", *fields)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came, byte for byte."""

    raw: bytes
    connection: "Connection" = field(repr=False)

    @property
    def line(self) -> str:
        return self._lines[0]

    @property
    def fields(self) -> dict[str, str]:
        """By lower-case name; a name that comes twice is a mistake of its own."""
        pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in self._lines[1:])]
        assert len(pairs) == len(dict(pairs)), self.raw
        return dict(pairs)

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def _lines(self) -> list[str]:
        return self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")


class Connection(asyncio.Protocol):
    """One client of the server. It sends nothing before it has a whole request."""

    def __init__(self, server: "RecordingUpstream") -> None:
        self.received = bytearray()
        self.closed = asyncio.Event()
        """The other side has ended it, politely or not."""
        self.unsent: int | None = None
        """What was still to be sent when the other side ended it; None where it was reset."""
        self._server = server
        self._seen = 0
        self._passed = 0
        self._arrived = asyncio.Event()
        self._acting: asyncio.Task[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # Of uvloop it is none by name.
        self._server.connections.append(self)
        self._server.met.set()
        if self._server.deaf:
            self._transport.pause_reading()
        if self._server.at_once:
            self._acting = asyncio.create_task(self._act(self._server.script))

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        if (most := self._server.keeps) is not None and len(self.received) - self._seen > most:
            self._passed += len(data)
        else:
            self.received += data
            self._arrived.set()
        start = bytes(self.received[self._seen :])
        _, blank, rest = start.partition(b"\r\n\r\n")
        if not blank:
            return
        asked = Asked(start, self)
        if len(rest) + self._passed < int(asked.fields.get("content-length", "0")):
            return
        if asked.fields.get("transfer-encoding") == "chunked" and not rest.endswith(LAST_CHUNK):
            return
        self._seen, self._passed = len(self.received), 0
        if asked.fields.get("user-agent") == LOOKING:
            self._show(asked)
            return
        self._server.heard(asked)
        if self._acting is None or not self._server.at_once:
            says = self._server.answers
            self._acting = asyncio.create_task(self._act(self._server.script if says is None else says(asked)))

    @property
    def waiting(self) -> int:
        """How much of what was said the other side has not taken yet, nor the kernel for it."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    async def holds(self, count: int) -> None:
        """Return once so many bytes have come."""
        async with asyncio.timeout(20):
            while len(self.received) < count:
                self._arrived.clear()
                await self._arrived.wait()

    def _show(self, asked: Asked) -> None:
        """The gate's own looks at the lists are answered at once, and are no part of what a test asks about."""
        assert self._transport is not None
        self._server.looks.append(asked.line)
        if self in self._server.connections:
            self._server.connections.remove(self)
        list_of = {"/api/tags": self._server.installed, "/api/ps": self._server.loaded}
        path = asked.line.split()[1]
        told = whole(json.dumps({"models": list_of[path]}).encode()) if path in list_of else self._server.version
        self._transport.write(told)
        if (rest := self._server.after_a_look) is None:
            self._transport.close()
        else:
            asyncio.get_running_loop().call_later(0.05, self._transport.write, rest)

    async def _act(self, script: Iterable[Step]) -> None:
        assert self._transport is not None
        for step in script:
            if isinstance(step, bytes):
                self._transport.write(step)
            elif isinstance(step, asyncio.Event):
                await step.wait()
            elif isinstance(step, Drip):
                for byte in step.data:
                    if self._transport.is_closing():
                        return
                    self._transport.write(bytes((byte,)))
                    await asyncio.sleep(step.seconds)
            elif isinstance(step, Endless):
                while not self._transport.is_closing():
                    self._transport.write(step.piece)
                    await asyncio.sleep(0)
                    await self._may_write.wait()
            elif step is HALF:
                self._transport.write_eof()
            elif step is CLOSE:
                self._transport.close()
            else:
                self._transport.abort()

    def eof_received(self) -> None:
        assert self._transport is not None
        self.unsent = self._transport.get_write_buffer_size()
        self.closed.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()
        self._may_write.set()

    def end(self) -> None:
        if self._acting is not None:
            self._acting.cancel()
        if self._transport is not None:
            self._transport.abort()


class RecordingUpstream:
    """Answers every request with the same script, until it is given another."""

    def __init__(self) -> None:
        self.url = ""
        self.connections: list[Connection] = []
        self.met = asyncio.Event()
        """Somebody has connected since it was cleared."""
        self.asked: list[Asked] = []
        self.looks: list[str] = []
        """The request lines of the gate's own looks."""
        self.installed: list[dict[str, Any]] = [{"name": name, "model": name} for name in INSTALLED]
        self.loaded: list[dict[str, Any]] = []
        self.keeps: int | None = None
        """How much of a request is remembered, about; None where all of it is."""
        self.at_once = False
        """It answers whoever connects, before it was asked."""
        self.deaf = False
        """It takes nothing from whoever connects."""
        self.after_a_look: bytes | None = None
        """What comes in a piece of its own after the answer to one of the gate's looks, which then has no other end."""
        self.answers: Callable[[Asked], Iterable[Step]] | None = None
        """What it says to each request, where that is not the same for all."""
        self.version = whole(b'{"version":"0.0.0"}')
        self.script: tuple[Step, ...] = (whole(b'{"version":"0.0.0"}'),)
        self._news: asyncio.Queue[Asked] = asyncio.Queue()

    def says(self, *script: Step) -> None:
        self.script = script

    def heard(self, asked: Asked) -> None:
        self.asked.append(asked)
        self._news.put_nowait(asked)

    async def next(self) -> Asked:
        """The next request that nobody has looked at, once it is whole."""
        async with asyncio.timeout(20):
            return await self._news.get()

    def forget(self) -> None:
        """What has come so far does not count, and the next who asks has to connect."""
        for connection in self.connections:
            connection.end()
        self.connections.clear()
        self.asked.clear()
        while not self._news.empty():
            self._news.get_nowait()


@asynccontextmanager
async def recording(port: int = 0) -> AsyncIterator[RecordingUpstream]:
    upstream = RecordingUpstream()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(upstream), "127.0.0.1", port)
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield upstream
    finally:
        server.close()
        for connection in upstream.connections:
            connection.end()
        await server.wait_closed()
