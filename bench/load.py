"""The callers: raw connections that ask again as soon as they are answered, and check what they were told.

A client library would cost more than what it measures, and take the second core from the proxy.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bench import upstream

PATIENCE_SECONDS = 30.0
"""For all answers of one load, after its own time is over."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


class WrongAnswer(Exception):
    """Not what was asked for: a measurement of it would mean nothing."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what must come of it."""

    path: str
    stream: bool
    said: bytes
    """The body of an answer that does not stream, or one event of a stream."""
    ends: bytes

    def request(self, port: int, key: str) -> bytes:
        """Some 600 bytes of body, as a short chat has."""
        messages = [{"role": "user", "content": "Say it as it is, and no more. " * 17}]
        asked = {"model": upstream.MODEL, "messages": messages, "stream": self.stream}
        body = json.dumps(asked, separators=(",", ":")).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def check(self, body: bytes) -> None:
        if body.count(self.said) != (upstream.EVENTS if self.stream else 1) or not body.endswith(self.ends):
            raise WrongAnswer(f"{self.path} answered {len(body)} bytes that end with {body[-80:]!r}")


UNARY = Question("/v1/chat/completions", False, upstream.WHOLE, upstream.WHOLE)
EVENTS = Question("/v1/chat/completions", True, upstream.EVENT.strip(), upstream.EVENTS_END)
LINES = Question("/api/chat", True, upstream.LINE, upstream.LINES_END)


class Connection(asyncio.Protocol):
    """One client, kept alive over all its calls."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._body_at = -1
        self._whole_at: int | None = None  # None: chunked
        self._answered: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(WrongAnswer(f"broke off after {bytes(self._held[-200:])!r}"))

    async def ask(self, request: bytes) -> bytes:
        """The answer's body as it came, in its chunks if it has any."""
        assert self._transport is not None
        if self._transport.is_closing():
            raise WrongAnswer("the connection was not kept")
        self._held.clear()
        self._body_at = -1
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._answered
        return bytes(self._held[self._body_at :])

    def data_received(self, data: bytes) -> None:
        self._held += data
        if self._answered is None or self._answered.done():
            return
        if self._body_at < 0:
            head, found, _ = bytes(self._held).partition(b"\r\n\r\n")
            if not found:
                return
            self._body_at = len(head) + 4
            length = _LENGTH.search(head)
            self._whole_at = self._body_at + int(length[1]) if length else None
            if head[9:12] != b"200" or not (length or _CHUNKED.search(head)):
                self._answered.set_exception(WrongAnswer(f"answered {bytes(self._held[:400])!r}"))
                return
        # No event of ours has a line end inside, so that only the last chunk looks like this.
        if self._held.endswith(b"\r\n0\r\n\r\n") if self._whole_at is None else len(self._held) >= self._whole_at:
            self._answered.set_result(None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def unchunked(wire: bytes) -> tuple[bytes, int]:
    """The body inside its chunks, and how many there were."""
    pieces: list[bytes] = []
    at = 0
    while True:
        size, _, _ = wire[at : at + 18].partition(b"\r\n")
        begin = at + len(size) + 2
        if not int(size, 16):
            return b"".join(pieces), len(pieces)
        pieces.append(wire[begin : begin + int(size, 16)])
        at = begin + int(size, 16) + 2


@dataclass(slots=True)
class Heard:
    """What came of a load."""

    seconds: list[float] = field(default_factory=list)
    """Of each call, from the question to the last byte of the answer."""
    chunks: int = 0

    @property
    def calls(self) -> int:
        return len(self.seconds)


@asynccontextmanager
async def connected(port: int, clients: int) -> AsyncIterator[list[Connection]]:
    loop = asyncio.get_running_loop()
    connections: list[Connection] = []
    try:
        while len(connections) < clients:
            _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
            connections.append(connection)
        yield connections
    finally:
        for connection in connections:
            connection.close()


async def ask_all(connections: list[Connection], question: Question, request: bytes, calls: int, limit: float) -> Heard:
    """Ask so many times in all, or until the seconds are over; every connection asks at least once."""
    heard = Heard()
    until = time.perf_counter() + limit
    left = calls

    async def one(connection: Connection) -> None:
        nonlocal left
        first = True
        while first or (left > 0 and time.perf_counter() < until):
            first = False
            left -= 1
            began = time.perf_counter()
            body = await connection.ask(request)
            heard.seconds.append(time.perf_counter() - began)
            if question.stream:
                body, chunks = unchunked(body)
                heard.chunks += chunks
            question.check(body)

    async with asyncio.timeout(limit + PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(one(connection))
    return heard
