"""The client as the story sees it, over one request of aiohttp's server."""

import asyncio

from aiohttp import ClientConnectionError, hdrs, web
from aiohttp.http import HttpProcessingError

from proxy.errors import BodyTooLarge, BodyTooSlow, ClientGone, ClientStalled, EncodingUnknown, GateError, NotUnderstood
from proxy.web.refusals import rendered

CALL_ID = "X-Request-Id"
OURS = {"Server": "llamagate"}
"""On every answer, in place of aiohttp's own name and version."""


class HttpDoor:
    """A ``Door``. After ``begin`` nothing can be refused any more; whatever is raised then ends in an unclean end."""

    def __init__(
        self, request: web.BaseRequest, call_id: str, *, max_body: int, body_timeout: float, stall_timeout: float
    ) -> None:
        self._request = request
        self._call_id = call_id
        self._max_body = max_body
        self._body_timeout = body_timeout
        self._stall_timeout = stall_timeout
        self.response: web.StreamResponse | None = None

    @property
    def begun(self) -> web.StreamResponse:
        """The answer, once it has begun."""
        if self.response is None:
            raise RuntimeError("nothing has been answered yet")
        return self.response

    async def body(self) -> bytes:
        coding = self._request.headers.get(hdrs.CONTENT_ENCODING, "identity")
        if coding.strip().lower() != "identity":
            raise EncodingUnknown
        length = self._request.content_length
        if length is not None and length > self._max_body:
            raise BodyTooLarge
        await self._invited()
        read = bytearray()
        try:
            async with asyncio.timeout(self._body_timeout):
                while piece := await self._request.content.readany():
                    read += piece
                    if len(read) > self._max_body:
                        raise BodyTooLarge
        except TimeoutError as error:
            raise BodyTooSlow from error
        except (web.RequestPayloadError, HttpProcessingError) as error:
            raise NotUnderstood("The request body is not well-formed HTTP.") from error
        except (ClientConnectionError, ConnectionError) as error:
            raise ClientGone from error
        return bytes(read)

    async def _invited(self) -> None:
        """A client that waits for it is told to go on, now that it is known and its length is bearable (M8)."""
        if self._request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and self._request.transport:
            self._request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def begin(self, status: int, headers: dict[str, str]) -> None:
        self.response = response = web.StreamResponse(
            status=status, headers={**headers, **OURS, CALL_ID: self._call_id}
        )
        try:
            await response.prepare(self._request)
        except ConnectionError as error:
            raise ClientGone from error

    async def write(self, piece: bytes) -> None:
        try:
            async with asyncio.timeout(self._stall_timeout):
                await self.begun.write(piece)
        except TimeoutError as error:
            self._abort()
            raise ClientStalled from error
        except ConnectionError as error:
            raise ClientGone from error

    async def end(self) -> None:
        try:
            async with asyncio.timeout(self._stall_timeout):
                await self.begun.write_eof()
        except TimeoutError as error:
            self._abort()
            raise ClientStalled from error
        except ConnectionError as error:
            raise ClientGone from error

    async def break_off(self, piece: bytes) -> None:
        if self.begun.content_length is None and piece:  # Else the head has promised how many bytes there are.
            await self.write(piece)
        if self._request.transport is not None:
            self._request.transport.close()  # What is written still goes out; the final chunk never does.

    async def refuse(self, error: GateError) -> web.StreamResponse:
        """Say no, if there is still somebody to hear it; the connection stays usable where that is safe."""
        if self.response is not None:
            if self._request.transport is not None:
                self._request.transport.close()
            return self.response
        status, headers, body = rendered(error, self._request.raw_path.partition("?")[0], self._call_id)
        response = web.Response(status=status, headers={**headers, **OURS, CALL_ID: self._call_id}, body=body)
        if not self._request.content.is_eof() and self._request.body_exists:
            response.force_close()  # Nobody will read the rest of that body.
        return response

    def _abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()
