"""A small client of HTTP/1.1 (RFC 9112), which notes when each piece of an answer came. Follows nobody anywhere."""

import asyncio
import http.client
import io
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

LARGEST_HEAD = 65_536
LARGEST_BODY = 2**20
"""Bytes of an answer that are read; nothing that is asked for here is larger."""
_PORTS = {"http": 80, "https": 443}

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Place:
    """Where to ask."""

    scheme: str
    host: str
    port: int
    path: str = ""
    """What is put before every path; without a slash at its end."""

    @property
    def authority(self) -> str:
        """As ``Host`` has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, or as much of it as came."""

    status: int
    fields: Mapping[str, str]
    """By lower-case name; the last where there are several."""
    body: bytes = field(repr=False)
    pieces: tuple[tuple[float, bytes], ...] = field(default=(), repr=False)
    """When each came, on the caller's clock."""
    is_whole: bool = True
    certificate: Mapping[str, Any] = field(default_factory=dict)
    """Of the other side, as ``ssl.getpeercert`` tells it; empty without TLS."""


def place_of(url: str) -> Place:
    """ValueError says what would be right."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("should begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("should have no user or password in it")
    if parts.query or parts.fragment:
        raise ValueError("should end after the path")
    path = parts.path.rstrip("/").removesuffix("/v1")  # A base URL for OpenAI's clients will do too.
    if not (parts.hostname + path).isascii() or not url.isprintable() or " " in url:
        raise ValueError("has signs in it that a URL cannot have: write them as %41")
    return Place(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme], path)


async def ask(
    place: Place,
    method: str,
    path: str,
    *,
    fields: Mapping[str, str] | None = None,
    body: bytes = b"",
    clock: Clock,
    tls: ssl.SSLContext | None = None,
) -> Answered:
    """One call on a connection of its own; the path of another place than its own is put behind that.

    Raises OSError (among them ``ssl.SSLError``) and EOFError where no head came. What breaks off later is not whole.
    """
    said = {"Host": place.authority, "Connection": "close", "Accept": "*/*", **(fields or {})}
    if body or method == "POST":
        said |= {"Content-Length": str(len(body)), "Content-Type": "application/json"}
    lines = [f"{method} {place.path}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items()), "", ""]
    async with _connected(place, tls) as (reader, writer):
        sending = asyncio.create_task(_send(writer, "\r\n".join(lines).encode("latin-1") + body))
        try:
            status, told = await _head(reader)
            seen = writer.get_extra_info("peercert") or {}
            pieces, is_whole = await _body(reader, method, status, told, clock)
        finally:
            sending.cancel()  # A refusal may come before all of a body was taken.
            await asyncio.gather(sending, return_exceptions=True)
    return Answered(status, told, b"".join(piece for _, piece in pieces), tuple(pieces), is_whole, seen)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    with suppress(OSError):  # What was said in return tells more.
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def _connected(
    place: Place, tls: ssl.SSLContext | None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    context = (tls or ssl.create_default_context()) if place.scheme == "https" else None
    reader, writer = await asyncio.open_connection(place.host, place.port, ssl=context, limit=LARGEST_HEAD)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()  # Nothing is left to be said, and nobody waits for a goodbye.


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """That of the last answer: those before it only say that there will be one (RFC 9110 §15.2)."""
    while True:
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise OSError("it is no HTTP") from error
        line, _, rest = raw.partition(b"\r\n")
        version, _, status = line.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not status[:3].isdigit():
            raise OSError("it is no HTTP")
        if not 100 <= int(status[:3]) < 200:
            break
    try:
        parsed = http.client.parse_headers(io.BytesIO(rest))
    except http.client.HTTPException as error:
        raise OSError("it is no HTTP") from error
    return int(status[:3]), {name.lower(): value for name, value in parsed.items()}


async def _body(
    reader: asyncio.StreamReader, method: str, status: int, fields: Mapping[str, str], clock: Clock
) -> tuple[list[tuple[float, bytes]], bool]:
    """The pieces, and whether the end came that was promised."""
    if method == "HEAD" or status in (204, 304):
        return [], True
    pieces: list[tuple[float, bytes]] = []
    try:
        if fields.get("transfer-encoding", "").lower() == "chunked":
            await _chunks(reader, lambda piece: pieces.append((clock(), piece)))
            return pieces, True
        length = fields.get("content-length", "")
        left = min(int(length), LARGEST_BODY) if length.isdecimal() else LARGEST_BODY
        while left and (piece := await reader.read(min(left, LARGEST_HEAD))):
            pieces.append((clock(), piece))
            left -= len(piece)
        return pieces, not left or not length.isdecimal()
    except (OSError, EOFError, ValueError):
        return pieces, False


async def _chunks(reader: asyncio.StreamReader, take: Callable[[bytes], None]) -> None:
    """RFC 9112 §7.1. Raises EOFError and ValueError."""
    total = 0
    while size := int((await reader.readline()).partition(b";")[0].strip() or b"x", 16):
        total += size
        if total > LARGEST_BODY:
            raise ValueError("too much")
        take(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readline()


def date_of(fields: Mapping[str, str]) -> datetime | None:
    """What the other side's clock showed (RFC 9110 §6.6.1), to the second."""
    try:
        told = parsedate_to_datetime(fields.get("date", ""))
    except ValueError:
        return None
    return told if told.tzinfo else told.replace(tzinfo=UTC)
