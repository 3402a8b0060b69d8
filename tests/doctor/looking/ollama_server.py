"""A stand-in for Ollama's small routes, as it answers Host, Origin and who asks for its account."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.fakes.upstream import whole


@dataclass
class FakeOllama:
    """What it answers is set before it is asked."""

    version: object = "0.33.0"
    looks_at_host: bool = True
    knows_pages: bool = True
    cloud_disabled: bool | None = True
    """None: it is too old to tell."""
    signed_in: bool = False
    is_mute: bool = False
    """It takes what it is asked, and says nothing."""
    date: str | None = None
    port: int = 0
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, lines: list[str]) -> bytes:
        line, *rest = lines
        fields = {name.lower(): value for name, _, value in (one.partition(": ") for one in rest)}
        if self.knows_pages and "origin" in fields:
            return whole(b"", "", status="403 Forbidden")
        if self.looks_at_host and not fields["host"].startswith("127.0.0."):
            return whole(b"", "", status="403 Forbidden")
        dated = (f"Date: {self.date}",) if self.date else ()
        match line.split()[:2]:
            case ["GET", "/api/version"]:
                return whole(json.dumps({"version": self.version}).encode(), "application/json", *dated)
            case ["GET", "/api/status"] if self.cloud_disabled is not None:
                return whole(json.dumps({"cloud": {"disabled": self.cloud_disabled, "source": "none"}}).encode())
            case ["POST", "/api/me"] if self.signed_in:
                return whole(b'{"email": "owner@example.org"}')
            case ["POST", "/api/me"] if self.cloud_disabled is not None:
                return whole(b'{"error": "unauthorized", "signin_url": "x"}', status="401 Unauthorized")
        return whole(b"404 page not found", "text/plain", status="404 Not Found")

    async def served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
        self.asked.append(head[0])
        if self.is_mute:
            await reader.read()
        else:
            writer.write(self.answer(head))
        writer.close()


@asynccontextmanager
async def running(ollama: FakeOllama, at: str = "127.0.0.1") -> AsyncIterator[FakeOllama]:
    """It listens at this address and a port of its own."""
    server = await asyncio.start_server(ollama.served, at, 0)
    ollama.port = server.sockets[0].getsockname()[1]
    try:
        yield ollama
    finally:
        server.close()
