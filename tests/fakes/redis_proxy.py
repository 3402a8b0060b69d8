"""What may stand between a client and its Redis: a network that is slow or breaks off, and one that is encrypted."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme


@dataclass
class Weather:
    """What happens to what passes. It may change at any time, and holds for the next piece and connection."""

    delay: Callable[[], float] = lambda: 0.0
    """Seconds before each piece of a reply goes on."""
    resets_at_once: bool = False
    resets_after: int | None = None
    """Bytes of replies, on one connection."""
    swallows: bool = False
    """Replies go nowhere."""
    garbles: bytes | None = None
    """Comes in place of every reply."""


@dataclass
class RedisProxy:
    """Passes on to a port of this machine."""

    target: int
    tls: ssl.SSLContext | None = None
    weather: Weather = field(default_factory=Weather)
    port: int = 0
    heard: list[bytes] = field(default_factory=list)
    """What the client has sent, as it came."""
    connections: int = 0
    """How many were taken so far."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _passing: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def told(self, word: str) -> list[int]:
        """How often the command is in each piece that has it."""
        command = f"${len(word)}\r\n{word}\r\n".encode()
        return [piece.count(command) for piece in self.heard if command in piece]

    async def hears(self, word: str) -> None:
        """Until the client has sent the command."""
        while not self.told(word):
            self._news.clear()
            await self._news.wait()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """New connections are refused, and the old ones are at their end. It can be opened again at the same port."""
        if self._server is not None:
            self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        self._server = None

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        self.connections += 1
        try:
            if not self.weather.resets_at_once:
                await self._pass(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            _reset(writer)
            self._passing.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.target)
        both = [
            asyncio.create_task(self._up(reader, inner_writer)),
            asyncio.create_task(self._down(inner_reader, writer)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            inner_writer.transport.abort()
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 20):
            self.heard.append(piece)
            self._news.set()
            writer.write(piece)
            await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while piece := await reader.read(1 << 20):
            if seconds := self.weather.delay():
                await asyncio.sleep(seconds)
            if self.weather.swallows:
                continue
            if self.weather.garbles is not None:
                piece = self.weather.garbles
            left = None if self.weather.resets_after is None else self.weather.resets_after - passed
            writer.write(piece if left is None else piece[:left])
            passed += len(piece)
            await writer.drain()
            if left is not None and left <= len(piece):
                return


def _reset(writer: asyncio.StreamWriter) -> None:
    """Let the other side's kernel say "connection reset by peer"."""
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


OpenProxy = Callable[..., Awaitable[RedisProxy]]
"""To a port, through a weather, or with TLS."""


@pytest.fixture
async def open_proxy() -> AsyncIterator[OpenProxy]:
    opened: list[RedisProxy] = []

    async def new(target: int, weather: Weather | None = None, tls: ssl.SSLContext | None = None) -> RedisProxy:
        opened.append(RedisProxy(target, tls, weather or Weather()))
        await opened[-1].open()
        return opened[-1]

    yield new
    for proxy in opened:
        await proxy.close()


@dataclass(frozen=True, slots=True)
class Authority:
    """Vouches for servers."""

    ca: trustme.CA
    certificate: Path
    """What a client has to know of it."""

    def server(self, name: str) -> ssl.SSLContext:
        """For a server of this name, whatever it is really called."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(name).configure_cert(context)
        return context


NewAuthority = Callable[[], Authority]


@pytest.fixture
def new_authority(tmp_path: Path) -> NewAuthority:
    def new() -> Authority:
        ca = trustme.CA()
        path = tmp_path / f"authority-{id(ca)}.pem"
        ca.cert_pem.write_to_path(str(path))
        return Authority(ca, path)

    return new
