"""A stand-in for Ollama in a process of its own, over plain sockets, that can be told to behave badly.

``python -m tests.security.chaos.upstream PORT SECONDS``, the latter between two events. ``PUT /mood/NAME`` tells it how
to behave from the next request on; it says nothing of HTTP that the moods do not need.
"""

import asyncio
import json
import socket
import struct
import sys
from enum import StrEnum

from tests.security.chaos.said import MODEL, Stream, asked

LAST_CHUNK = b"0\r\n\r\n"
TCP_REPAIR = 19
"""The socket option of Linux under which a socket is closed without a word on the wire."""


class Mood(StrEnum):
    """How it behaves."""

    WELL = "well"
    MUTE = "mute"
    """It takes a question and never answers."""
    FALLS_SILENT = "falls-silent"
    """After a third of the answer."""
    NO_BODY = "no-body"
    """A head, and nothing after it."""
    DRIPS = "drips"
    """A head that comes byte by byte."""
    GARBAGE = "garbage"
    """No HTTP."""
    RESETS = "resets"
    """After a third of the answer, with a reset."""
    CUTS = "cuts"
    """After a third of the answer, in the middle of an event and with a polite end of the connection."""
    VANISHES = "vanishes"
    """After a third of the answer, so that no packet ever tells of it."""
    DOUBLES = "doubles"
    """Two lengths that are not the same."""
    SWITCHES = "switches"
    """101 to whoever asked for no upgrade."""
    REDIRECTS = "redirects"
    BUSY = "busy"
    """503, as Ollama says when its queue is full."""


BAD_HEADS = {
    Mood.GARBAGE: b"\x16\x03\x01\x00\x00 this is no HTTP\r\n\r\n",
    Mood.DOUBLES: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    Mood.SWITCHES: b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    Mood.REDIRECTS: b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /api/pull\r\nContent-Length: 0\r\n\r\n",
    Mood.BUSY: b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n"
    b'{"error":"no"}',
}


class Upstream:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._mood = Mood.WELL

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split()
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
            await self._answer(writer, method, path, body)
        except (OSError, EOFError, ValueError):
            pass  # Whoever asked has left.
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, method: str, path: str, body: bytes) -> None:
        lists = {"/api/tags": {"models": [{"name": MODEL, "model": MODEL}]}, "/api/version": {"version": "0.0.0"}}
        if method == "PUT":
            self._mood = Mood(path.rpartition("/")[2])
            lists[path] = {}
        stream = asked(path, body)
        if stream is None:
            text = json.dumps(lists.get(path, {"models": []})).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
            writer.write(head.encode() + text)
            await writer.drain()
            return
        await self._say(writer, stream, self._mood)

    async def _say(self, writer: asyncio.StreamWriter, stream: Stream, mood: Mood) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {stream.content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        if mood in BAD_HEADS:
            writer.write(BAD_HEADS[mood])
            await writer.drain()
            return
        if mood is Mood.DRIPS:
            for byte in head:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(1)
        if mood is Mood.MUTE:
            await asyncio.Event().wait()
        writer.write(head)
        if mood is Mood.NO_BODY:
            await asyncio.Event().wait()
        for number, event in enumerate(stream.events):
            await asyncio.sleep(self._seconds)
            if number >= stream.words // 3 and mood is not Mood.WELL:
                await self._leave(writer, event, mood)
                return
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
        writer.write(LAST_CHUNK)
        await writer.drain()

    async def _leave(self, writer: asyncio.StreamWriter, event: bytes, mood: Mood) -> None:
        connected: socket.socket = writer.get_extra_info("socket")
        match mood:
            case Mood.FALLS_SILENT:
                await asyncio.Event().wait()
            case Mood.VANISHES:
                connected.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            case Mood.RESETS:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case Mood.CUTS:
                writer.write(b"%x\r\n%b" % (len(event), event[: len(event) // 2]))
                await writer.drain()


async def main(port: int, seconds: float) -> None:
    server = await asyncio.start_server(Upstream(seconds).meet, "127.0.0.1", port, backlog=512)
    sys.stdout.write(f"upstream answers on http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)  # A leash: whoever started it has gone.


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
