"""An answer as its bytes go to the client, written straight to the connection.

aiohttp's own writing costs a coroutine, a look at the clock and two copies for each piece; here it costs its frame.
"""

import http
import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Final

from aiohttp.abc import AbstractStreamWriter

from proxy.web import parts as web

_REASONS: Final = {status.value: status.phrase for status in http.HTTPStatus}


class Written(web.StreamResponse):
    """An answer of which aiohttp learns only that it was given, and whether the connection is still good after it."""

    def __init__(self, *, keeps_alive: bool) -> None:
        super().__init__()
        self._keeps_alive = keeps_alive

    @property
    def keep_alive(self) -> bool | None:
        return self._keeps_alive

    def force_close(self) -> None:
        """It broke off: nothing is asked on its connection any more."""
        self._keeps_alive = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """The head is written already."""
        return None

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:
        """So is the end."""


class Frame:
    """Head and framing of one answer, RFC 9112 §6: a length, chunks, or nothing but the connection's end."""

    __slots__ = ("_is_bodiless", "_left", "head", "is_chunked", "keeps_alive")

    def __init__(
        self, status: int, fields: Mapping[str, str], *, is_1_1: bool, keeps_alive: bool, is_bodiless: bool
    ) -> None:
        """``fields`` tell a length in small letters. Raises ValueError where one would be two lines, or no length."""
        told = fields.get("content-length")
        self._left = None if told is None else int(told)
        """Bytes that the head has promised and that are still to come."""
        self._is_bodiless = is_bodiless
        self.is_chunked = told is None and is_1_1 and not is_bodiless
        self.keeps_alive = keeps_alive and (self.is_chunked or told is not None or is_bodiless)
        said = {**fields, "Date": _date(int(time.time()))}
        if self.is_chunked:
            said["Transfer-Encoding"] = "chunked"
        if self.keeps_alive != is_1_1:
            said["Connection"] = "keep-alive" if self.keeps_alive else "close"
        lines = (f"HTTP/1.{is_1_1:d} {status} {_REASONS.get(status, '')}", *map(": ".join, said.items()))
        head = "\r\n".join(lines)
        if head.count("\n") != len(said) or head.count("\r") != len(said):
            raise ValueError("a header field has a line end in it")
        self.head = head.encode("utf-8") + b"\r\n\r\n"

    @property
    def has_length(self) -> bool:
        return self._left is not None

    def piece(self, data: bytes) -> bytes:
        """A piece of the body as it is sent. Raises ValueError where it is more than the head has promised."""
        if self._is_bodiless or not data:
            return b""
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise ValueError("the answer is longer than its head has promised")
        return b"%x\r\n%b\r\n" % (len(data), data) if self.is_chunked else data

    def end(self) -> bytes:
        """What is sent after the last piece. Raises ValueError where the head has promised more."""
        if self._left and not self._is_bodiless:
            raise ValueError("the answer is shorter than its head has promised")
        return b"0\r\n\r\n" if self.is_chunked else b""


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """As RFC 9110 §5.6.7 has it, written once a second."""
    return formatdate(second, usegmt=True)
