"""Small proxies that stand in front of a gate and do one thing wrong each."""

import asyncio
import gzip
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from proxy.doctor.looking.http import ask, place_of
from tests.fakes.upstream import whole


@dataclass(frozen=True, slots=True)
class Habits:
    """What it does; as it stands it passes everything on."""

    holds_back: bool = False
    """It passes an answer on once it has all of it."""
    compresses: bool = False
    """And that as well, compressed."""
    patience: float | None = None
    """Seconds for an answer to begin."""
    breaks_off_after: int | None = None
    """Bytes of an answer."""
    drops: str = ""
    """A header field, in lower case."""
    largest_body: int | None = None
    cuts_path: str = ""
    """What it takes off the beginning of a path."""
    says: bytes | None = None
    """It asks nobody, and answers with this."""


@asynccontextmanager
async def proxy(to: str, habits: Habits, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Its URL, while it stands in front of this one."""
    talk = _Talk(to, habits)
    server = await asyncio.start_server(talk.served, "127.0.0.1", 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


class _Talk:
    def __init__(self, to: str, habits: Habits) -> None:
        self._to = to
        self._habits = habits

    async def served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        habits = self._habits
        line, *told = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
        kept = [one for one in told if not habits.drops or one.partition(":")[0].lower() != habits.drops]
        fields = {name.lower(): value for name, _, value in (one.partition(": ") for one in kept)}
        length = int(fields.get("content-length", "0"))
        if habits.says is not None:
            writer.write(habits.says)
        elif habits.largest_body is not None and length > habits.largest_body:
            writer.write(whole(b"<html>too large</html>", "text/html", status="413 Request Entity Too Large"))
        elif habits.compresses:
            method, path, _ = line.split()
            passed = {name: value for name, value in fields.items() if name in ("authorization", "x-api-key")}
            got = await ask(place_of(self._to), method, path, fields=passed, clock=time.monotonic)
            packed = gzip.compress(got.body)
            writer.write(whole(packed, got.fields["content-type"], "Content-Encoding: gzip"))
        else:
            body = await reader.readexactly(length)
            head = "\r\n".join(
                [line.replace(f" {habits.cuts_path}", " ", 1) if habits.cuts_path else line, *kept, "", ""]
            )
            await self._pass(head.encode("latin-1") + body, writer)
        await writer.drain()

    async def _pass(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        place = place_of(self._to)
        habits = self._habits
        reader, to_gate = await asyncio.open_connection(place.host, place.port)
        try:
            to_gate.write(request)
            try:
                async with asyncio.timeout(habits.patience):
                    piece = await reader.read(65_536)
            except TimeoutError:
                writer.write(whole(b"<html>", "text/html", status="504 Gateway Time-out"))
                return
            held = b""
            while piece:
                held += piece
                if habits.breaks_off_after is not None and len(held) > habits.breaks_off_after:
                    writer.write(held[: habits.breaks_off_after])
                    return
                if not habits.holds_back and habits.breaks_off_after is None:
                    writer.write(piece)
                    await writer.drain()
                piece = await reader.read(65_536)
            if habits.holds_back or habits.breaks_off_after is not None:
                writer.write(held)
        finally:
            to_gate.transport.abort()
