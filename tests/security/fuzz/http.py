"""What two other parsers find in the bytes that ``Framing`` lets through: h11, and aiohttp's that stands behind it."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import h11
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser

from proxy.web.framing import Framing, NotHttp, Reason

BOUND = 100
"""Bytes of a body."""
MOST_REQUESTS = 8


@dataclass(frozen=True, slots=True)
class Read:
    """One request, as far as it has come."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    """With names in small letters."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Passed:
    """What ``Framing`` lets through."""

    data: bytes
    why: Reason | None
    heads: int
    is_in_body: bool


def passed(pieces: Sequence[bytes]) -> Passed:
    framing = Framing(lambda target: BOUND, MOST_REQUESTS)
    data = b""
    for piece in pieces:
        try:
            data += framing.feed(piece)
        except NotHttp as refusal:
            assert b"" == framing.feed(b"GET / HTTP/1.1\r\n"), "it goes on after a refusal"
            return Passed(data + refusal.passed, refusal.why, framing.heads, refusal.is_in_body)
    return Passed(data, None, framing.heads, False)


def as_h11(data: bytes) -> list[Read]:
    """Raises h11.RemoteProtocolError for what is not HTTP for it."""
    return list(_each(data))


def _each(data: bytes) -> Iterator[Read]:
    while data:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        connection.receive_data(data)
        request = connection.next_event()
        if not isinstance(request, h11.Request):
            return
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
        yield Read(request.method, request.target, tuple(request.headers), body)
        if not isinstance(event, h11.EndOfMessage):
            return
        data = connection.trailing_data[0]


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The parser asks for one, and runs nothing on it."""
    return asyncio.new_event_loop()


def as_aiohttp(data: bytes) -> list[Read]:
    """Raises aiohttp.http.HttpProcessingError for what is not HTTP for it."""
    loop = _loop()
    parser = HttpRequestParser(
        BaseProtocol(loop),
        loop,
        2**16,
        max_line_size=8190,
        max_field_size=8190,
        max_headers=128,
        auto_decompress=False,
        max_msg_queue_size=1000,
    )
    messages, _, _ = parser.feed_data(data)
    return [
        Read(
            message.method.encode(),
            message.path.encode("utf-8", "surrogateescape"),
            tuple(map(_as_h11_says_it, message.raw_headers)),
            b"".join(getattr(payload, "_buffer", ())),  # One for no body at all has none.
        )
        for message, payload in messages
    ]


def _as_h11_says_it(field: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = field[0].lower(), field[1]
    return name, value.lower() if name == b"transfer-encoding" else value
