"""The callers: raw connections that ask again as soon as they are answered, and check what they were told.

A client library would cost more than what it measures, and take the second core from the proxy.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from bench import upstream

PATIENCE_SECONDS = 60.0
"""For all answers of one load, after its own time is over."""
CONNECT_AT_ONCE = 100

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_STAMP = re.compile(rb'"content": *"(\d{20})"')
_CONTENT = re.compile(rb'"content": *"[^"]')
_CHUNK_ENDS = b"\r\n0\r\n\r\n"
_USUAL = f"{upstream.PLAIN}.{upstream.EVENTS}.{upstream.PAUSE_MILLISECONDS}"
_SENTENCE = "Say it as it is, and no more. "


class WrongAnswer(Exception):
    """Not what was asked for: a measurement of it would mean nothing."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what must come of it."""

    path: str
    stream: bool
    events: int = upstream.EVENTS
    pause_milliseconds: int = upstream.PAUSE_MILLISECONDS
    kind: str = upstream.PLAIN
    """One of the upstream's words for what a stream shall be."""
    body_bytes: int = 600
    """About so many, as a short chat has."""

    def request(self, port: int, key: str, fields: Sequence[str] = ()) -> bytes:
        """The whole request; ``fields`` are more header fields."""
        messages = [{"role": "user", "content": _SENTENCE * max(1, (self.body_bytes - 90) // len(_SENTENCE))}]
        asked = {"model": upstream.MODEL, "messages": messages, "stream": self.stream}
        told = f"{self.kind}.{self.events}.{self.pause_milliseconds}"
        if told != _USUAL:
            asked["user"] = told
        body = json.dumps(asked, separators=(",", ":")).encode()
        lines = (
            f"POST {self.path} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            f"Authorization: Bearer {key}",
            *fields,
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
        return "\r\n".join((*lines, "", "")).encode() + body

    @property
    def ends(self) -> bytes:
        """How a good answer ends that nobody has written anew."""
        if not self.stream:
            return upstream.WHOLE
        return upstream.EVENTS_END if "/v1/" in self.path else upstream.lines_end(self.events)

    def check(self, body: bytes, *, exact: bool = True) -> None:
        """Raises WrongAnswer. What a proxy writes anew, as some do, is looked at for what it says only."""
        if not self.stream:
            good = body == upstream.WHOLE if exact else body.count(upstream.SAID) == 1
        else:
            good = len(_CONTENT.findall(body)) == self.events and (body.endswith(self.ends) or not exact)
        if not good:
            raise WrongAnswer(f"{self.path} answered {len(body)} bytes that end with {body[-80:]!r}")


CHAT, NATIVE = "/v1/chat/completions", "/api/chat"
UNARY = Question(CHAT, stream=False)
EVENTS = Question(CHAT, stream=True)
LINES = Question(NATIVE, stream=True)


class Connection(asyncio.Protocol):
    """One client, kept alive over all its calls."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._body_at = -1
        self._whole_at: int | None = None  # None: chunked
        self._answered: asyncio.Future[None] | None = None
        self._begun: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._waits: list[int] | None = None
        self.first_at = 0.0
        """When the first byte of the last answer's body came, by ``perf_counter``."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # Those of uvloop are none of asyncio's by their type.

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in (self._begun, self._answered):
            if waiting is not None and not waiting.done():
                waiting.set_exception(WrongAnswer(f"broke off after {bytes(self._held[-200:])!r}"))

    async def ask(self, request: bytes, waits: list[int] | None = None) -> bytes:
        """The answer's body as it came, in its chunks if it has any.

        ``waits`` gets the nanoseconds that each stamped event took to come here.
        """
        self._waits = waits
        self._answered = self._send(request)
        await self._answered
        return bytes(self._held[self._body_at :])

    async def begin(self, request: bytes) -> None:
        """Ask, and wait for the first of the answer's body only."""
        self._begun = self._send(request)
        await self._begun

    def _send(self, request: bytes) -> asyncio.Future[None]:
        assert self._transport is not None
        if self._transport.is_closing():
            raise WrongAnswer("the connection was not kept")
        self._held.clear()
        self._body_at = -1
        self.first_at = 0.0
        self._transport.write(request)
        return asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._held += data
        waiting = self._begun if self._answered is None else self._answered
        if waiting is None or waiting.done():
            return
        if self._body_at < 0:
            head, found, _ = bytes(self._held).partition(b"\r\n\r\n")
            if not found:
                return
            self._body_at = len(head) + 4
            length = _LENGTH.search(head)
            self._whole_at = self._body_at + int(length[1]) if length else None
            if head[9:12] != b"200" or not (length or _CHUNKED.search(head)):
                waiting.set_exception(WrongAnswer(f"answered {bytes(self._held[:600])!r}"))
                return
        if not self.first_at and len(self._held) > self._body_at:
            self.first_at = time.perf_counter()
            if waiting is self._begun:
                waiting.set_result(None)
                return
        if self._waits is not None:
            now = time.monotonic_ns()
            self._waits.extend(now - int(stamp) for stamp in _STAMP.findall(data))
        # No event of ours has a line end inside, so that only the last chunk looks like this.
        if self._held.endswith(_CHUNK_ENDS) if self._whole_at is None else len(self._held) >= self._whole_at:
            waiting.set_result(None)

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
    """What came of a load. Seconds, but for the waits."""

    seconds: list[float] = field(default_factory=list)
    """Of each call, from the question to the last byte of the answer."""
    first_seconds: list[float] = field(default_factory=list)
    """Of each call, from the question to the first byte of the answer's body."""
    waits: list[int] = field(default_factory=list)
    """Nanoseconds of each stamped event, from the upstream to here."""
    chunks: int = 0

    @property
    def calls(self) -> int:
        return len(self.seconds)


@asynccontextmanager
async def connected(port: int, clients: int) -> AsyncIterator[list[Connection]]:
    """So many connections; leaving closes them."""
    loop = asyncio.get_running_loop()
    connections: list[Connection] = []
    try:
        while len(connections) < clients:
            made = [
                loop.create_connection(Connection, "127.0.0.1", port)
                for _ in range(min(CONNECT_AT_ONCE, clients - len(connections)))
            ]
            connections += [connection for _, connection in await asyncio.gather(*made)]
        yield connections
    finally:
        for connection in connections:
            connection.close()


async def ask_all(
    connections: Sequence[Connection],
    question: Question,
    requests: Sequence[bytes],
    calls: int,
    limit: float,
    *,
    exact: bool = True,
    spread: float = 0.0,
) -> Heard:
    """Ask so many times in all, or until the seconds are over; every connection asks at least once.

    The requests are sent in turns. ``spread`` is the time over which the first of all connections are spread.
    """
    heard = Heard()
    until = time.perf_counter() + limit
    asked = 0

    async def one(connection: Connection, begins: float) -> None:
        nonlocal asked
        if begins:
            await asyncio.sleep(begins)
        first = True
        while first or (asked < calls and time.perf_counter() < until):
            first = False
            request = requests[asked % len(requests)]
            asked += 1
            began = time.perf_counter()
            body = await connection.ask(request, heard.waits if question.kind == upstream.STAMPED else None)
            heard.seconds.append(time.perf_counter() - began)
            heard.first_seconds.append(connection.first_at - began)
            if question.stream:
                body, chunks = unchunked(body)
                heard.chunks += chunks
            question.check(body, exact=exact)

    async with asyncio.timeout(limit + PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        for number, connection in enumerate(connections):
            group.create_task(one(connection, spread * number / len(connections)))
    return heard
