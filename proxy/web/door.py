"""The client as the story sees it, over one request of aiohttp's server."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import cast

from aiohttp import hdrs
from aiohttp.client_exceptions import ClientConnectionError
from aiohttp.http import HttpProcessingError, HttpVersion11

from proxy.dialects import codings
from proxy.errors import BodyTooLarge, BodyTooSlow, ClientGone, ClientStalled, EncodingUnknown, GateError, NotUnderstood
from proxy.vocabulary import Call, Endpoint, Later, Upload
from proxy.web import parts as web
from proxy.web.connection import OURS, Connection
from proxy.web.manners import Manners
from proxy.web.refusals import rendered
from proxy.web.written import Frame, Written

CALL_ID = "X-Request-Id"


class HttpDoor:
    """A ``Door``. After ``begin`` nothing can be refused any more; what is raised before ``end`` ends uncleanly."""

    def __init__(self, request: web.BaseRequest, call: Call, manners: Manners, said: Mapping[str, str]) -> None:
        """``said`` are header fields that every answer to this request carries."""
        self._request = request
        self._said = {**said, **OURS, CALL_ID: call.id}
        self._call = call
        self._manners = manners
        self._frame: Frame | None = None
        self._unsent = b""
        """The head, until the first piece."""
        self.response: Written | None = None
        self._has_ended = False

    @property
    def begun(self) -> web.StreamResponse:
        """The answer, once it has begun."""
        if self.response is None:
            raise RuntimeError("nothing has been answered yet")
        return self.response

    def tell(self, fields: Mapping[str, str]) -> None:
        self._said.update(fields)

    async def body(self, endpoint: Endpoint) -> bytes:
        coding = self._request.headers.get(hdrs.CONTENT_ENCODING, "")
        if not codings.accepts(endpoint, coding):
            raise EncodingUnknown
        most = self._manners.max_body
        self._bearable(most)
        content = self._request.content
        if content.is_eof() and content.exception() is None and hdrs.EXPECT not in self._request.headers:
            return self._decoded(content.read_nowait(), coding)  # As nearly always: it came along with its head.
        read = bytearray()
        try:
            async with asyncio.timeout(self._manners.body_timeout):
                async for piece in self._pieces(most):
                    read += piece
        except TimeoutError as error:
            raise BodyTooSlow from error
        return self._decoded(bytes(read), coding)

    def _decoded(self, body: bytes, coding: str) -> bytes:
        if len(body) > self._manners.max_body:
            raise BodyTooLarge
        return codings.decoded(body, coding, self._manners.max_body)

    def upload(self, most: int | None) -> Upload:
        if self._request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
            raise EncodingUnknown
        self._bearable(most)
        return Upload(self._pieces(most), self._request.content_length)

    def _bearable(self, most: int | None) -> None:
        length = self._request.content_length
        if most is not None and length is not None and length > most:
            raise BodyTooLarge

    async def _pieces(self, most: int | None) -> AsyncIterator[bytes]:
        """The body as it arrives. A client that waits to be asked for it is asked, now that it is known.

        Raises BodyTooSlow where it comes slower than the rate; what the reader needs for a piece is not the client's
        fault, and what came quickly before is no excuse for more than ``head_timeout``.
        """
        is_waiting = self._request.headers.get(hdrs.EXPECT, "").lower() == "100-continue"
        if is_waiting and self._request.version >= HttpVersion11 and self._request.transport:  # RFC 9110 §10.1.1
            self._request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        clock = asyncio.get_running_loop().time
        count, patience = 0, self._manners.head_timeout
        try:
            while True:
                began = clock()
                async with asyncio.timeout(patience):
                    piece = await self._request.content.readany()
                if not piece:
                    return
                earned = len(piece) / self._manners.body_rate
                patience = min(self._manners.head_timeout, patience - (clock() - began) + earned)
                count += len(piece)
                if most is not None and count > most:
                    raise BodyTooLarge
                yield piece
        except TimeoutError as error:
            raise BodyTooSlow from error
        except (web.RequestPayloadError, HttpProcessingError) as error:
            raise NotUnderstood("The request body is not well-formed HTTP.") from error
        except (ClientConnectionError, ConnectionError) as error:
            raise ClientGone from error

    def begin(self, status: int, headers: dict[str, str]) -> None:
        request = self._request
        self._frame = Frame(
            status,
            {**headers, **self._said},
            is_1_1=request.version >= HttpVersion11,
            keeps_alive=request.keep_alive,
            is_bodiless=request.method == hdrs.METH_HEAD,
        )
        self._unsent, self._frame.head, self._said = self._frame.head, b"", {}  # A stream may go on for long.
        self.response = Written(keeps_alive=self._frame.keeps_alive)

    def write(self, piece: bytes) -> Later | None:
        return self._send(self._begun.piece(piece))

    def end(self) -> Later | None:
        later = self._send(self._begun.end())
        self._has_ended = later is None  # A client that does not take it yet may never do.
        return later

    async def break_off(self, piece: bytes) -> None:
        if piece and not self._begun.has_length:  # Else the head has promised how many bytes there are.
            later = self.write(piece)
            if later is not None:
                await later
        self._close()

    @property
    def _begun(self) -> Frame:
        if self._frame is None:
            raise RuntimeError("nothing has been answered yet")
        return self._frame

    def _send(self, data: bytes) -> Later | None:
        """Raises ClientGone. What is left is to wait until the client has taken some of what it was sent."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ClientGone
        if self._unsent:
            data, self._unsent = self._unsent + data, b""
        if data:
            transport.write(data)
        return self._taken() if self._request.protocol.writing_paused else None

    async def _taken(self) -> None:
        """Return once the client has taken enough of it. Raises ClientGone, and ClientStalled where it does not."""
        connection = self._request.protocol
        try:
            async with asyncio.timeout(self._manners.stall_timeout):
                await cast(Connection, connection).drained()
        except TimeoutError as error:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ClientStalled from error
        if self._request.transport is None:
            raise ClientGone

    async def refuse(self, error: GateError) -> web.StreamResponse:
        """Say no, if there is still somebody to hear it; the connection stays usable where that is safe."""
        if self.response is not None:
            if not self._has_ended:  # Else the client may be asking again on this connection already.
                self._close()
            return self.response
        status, headers, body = rendered(error, self._call.path, self._call.id)
        response = web.Response(status=status, headers={**headers, **self._said}, body=body)
        if not self._request.content.is_eof() and self._request.body_exists:
            response.force_close()  # Nobody will read the rest of that body.
        return response

    def _close(self) -> None:
        """What is written still goes out; the end of the answer never does."""
        if self.response is not None:
            self.response.force_close()
        transport = self._request.transport
        if transport is not None:
            transport.close()
            asyncio.get_running_loop().call_later(self._manners.stall_timeout, transport.abort)  # If nobody reads it.
