"""A client that sends bytes as they are and believes nothing of the answer that the framing does not prove."""

import asyncio
import re
import socket
import struct
from dataclasses import dataclass

PATIENCE_SECONDS = 20.0
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2}) ([\x20-\x7e]*)")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\x20-\x7e]*)")
_SIZE = re.compile(rb"[0-9a-fA-F]+")


class NotHttp(AssertionError):
    """The server said what no server may say."""


@dataclass(frozen=True, slots=True)
class Told:
    """One answer."""

    status: int
    fields: dict[str, str]
    """By lower-case name."""
    body: bytes
    clean: bool
    """It ended as its head promised."""
    head: bytes

    @property
    def keeps_alive(self) -> bool:
        default = "keep-alive" if self.head.startswith(b"HTTP/1.1") else "close"
        return self.fields.get("connection", default).lower() == "keep-alive"


class RawClient:
    """One connection, its write side open until it is closed: a half-closed client counts as gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.received = bytearray()
        """What no answer has been made of yet."""
        self._ended = False

    @classmethod
    async def connect(cls, host: str, port: int, *, window: int | None = None) -> "RawClient":
        """``window`` bounds what the kernel takes in for a client that does not read."""
        connected = socket.socket()
        connected.setblocking(False)
        if window is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        try:
            await asyncio.get_running_loop().sock_connect(connected, (host, port))
        except OSError:
            connected.close()
            raise
        return cls(*await asyncio.open_connection(sock=connected, limit=4096))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def told(self, *, bodiless: bool = False) -> Told:
        """The next answer, whole or broken off; ``bodiless`` after HEAD."""
        top = await self._through(b"\r\n\r\n")
        lines = top[:-4].split(b"\r\n")
        status_line = _STATUS.fullmatch(lines[0])
        if status_line is None:
            raise NotHttp(lines[0])
        status = int(status_line[2])
        fields: dict[str, str] = {}
        for line in lines[1:]:
            match = _FIELD.fullmatch(line)
            if match is None or match[1].decode().lower() in fields:
                raise NotHttp(line)
            fields[match[1].decode().lower()] = match[2].decode()
        if bodiless or status < 200 or status == 204:
            return Told(status, fields, b"", True, top)
        body, clean = await self._body(fields)
        return Told(status, fields, body, clean, top)

    async def _body(self, fields: dict[str, str]) -> tuple[bytes, bool]:
        if "transfer-encoding" in fields:
            if fields["transfer-encoding"] != "chunked" or "content-length" in fields:
                raise NotHttp(fields)
            return await self._chunks()
        if "content-length" in fields:
            length = int(fields["content-length"])
            while len(self.received) < length and await self._more():
                pass
            return self._taken(length), not self._ended
        while await self._more():
            pass
        return self._taken(len(self.received)), True

    async def _chunks(self) -> tuple[bytes, bool]:
        body = b""
        while True:
            try:
                size = (await self._through(b"\r\n"))[:-2]
            except EOFError:
                return body, False
            if _SIZE.fullmatch(size) is None:
                raise NotHttp(size)
            length = int(size, 16)
            while len(self.received) < length + 2 and await self._more():
                pass
            piece = self._taken(length + 2)
            if len(piece) < length + 2:
                return body + piece, False
            if not piece.endswith(b"\r\n"):
                raise NotHttp(piece)
            if length == 0:
                return body, True
            body += piece[:-2]

    async def until(self, marker: bytes) -> None:
        """Return once the marker has come; nothing is taken out."""
        while marker not in self.received:
            if not await self._more():
                raise EOFError(bytes(self.received))

    async def closed(self) -> bytes:
        """Everything that still comes before the server closes; a reset is a close."""
        while await self._more():
            pass
        return self._taken(len(self.received))

    def leave(self) -> None:
        """With a reset, as a killed client does."""
        connected: socket.socket = self._writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()

    async def _through(self, marker: bytes) -> bytes:
        await self.until(marker)
        return self._taken(self.received.index(marker) + len(marker))

    async def _more(self) -> bool:
        if self._ended:
            return False
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                piece = await self._reader.read(65536)
        except ConnectionError:
            piece = b""
        self.received += piece
        self._ended = not piece
        return not self._ended

    def _taken(self, count: int) -> bytes:
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken
