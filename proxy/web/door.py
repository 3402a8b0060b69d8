"""The client as the story sees it, over one request of aiohttp's server."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import ClientConnectionError, HttpVersion11, hdrs, web
from aiohttp.http import HttpProcessingError

from proxy.dialects import codings
from proxy.errors import BodyTooLarge, BodyTooSlow, ClientGone, ClientStalled, EncodingUnknown, GateError, NotUnderstood
from proxy.vocabulary import Call, Endpoint, Upload
from proxy.web.connection import OURS
from proxy.web.manners import Manners
from proxy.web.refusals import rendered

CALL_ID = "X-Request-Id"


class HttpDoor:
    """A ``Door``. After ``begin`` nothing can be refused any more; whatever is raised then ends in an unclean end."""

    def __init__(self, request: web.BaseRequest, call: Call, manners: Manners, said: Mapping[str, str]) -> None:
        """``said`` are header fields that every answer to this request carries."""
        self._request = request
        self._said = {**said, **OURS, CALL_ID: call.id}
        self._call = call
        self._manners = manners
        self.response: web.StreamResponse | None = None

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
        read = bytearray()
        try:
            async with asyncio.timeout(self._manners.body_timeout):
                async for piece in self._pieces(most):
                    read += piece
        except TimeoutError as error:
            raise BodyTooSlow from error
        return codings.decoded(bytes(read), coding, most)

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

    async def begin(self, status: int, headers: dict[str, str]) -> None:
        self.response = web.StreamResponse(status=status, headers={**headers, **self._said})
        async with self._taken():
            await self.response.prepare(self._request)

    async def write(self, piece: bytes) -> None:
        async with self._taken():
            await self.begun.write(piece)

    async def end(self) -> None:
        async with self._taken():
            await self.begun.write_eof()

    async def break_off(self, piece: bytes) -> None:
        if piece and self.begun.content_length is None:  # Else the head has promised how many bytes there are.
            await self.write(piece)
        self._close()

    async def refuse(self, error: GateError) -> web.StreamResponse:
        """Say no, if there is still somebody to hear it; the connection stays usable where that is safe."""
        if self.response is not None:
            self._close()
            return self.response
        status, headers, body = rendered(error, self._call.path, self._call.id)
        response = web.Response(status=status, headers={**headers, **self._said}, body=body)
        if not self._request.content.is_eof() and self._request.body_exists:
            response.force_close()  # Nobody will read the rest of that body.
        return response

    @asynccontextmanager
    async def _taken(self) -> AsyncIterator[None]:
        """Whether the client takes what is sent, and in time."""
        try:
            async with asyncio.timeout(self._manners.stall_timeout):
                yield
        except TimeoutError as error:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ClientStalled from error
        except ConnectionError as error:
            raise ClientGone from error

    def _close(self) -> None:
        """What is written still goes out; the end of the answer never does."""
        transport = self._request.transport
        if transport is not None:
            transport.close()
            asyncio.get_running_loop().call_later(self._manners.stall_timeout, transport.abort)  # If nobody reads it.
