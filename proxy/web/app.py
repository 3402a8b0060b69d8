"""Listen, and lead every request to the story.

aiohttp's low-level server: a router, a URL object or a multipart parser would only normalise what must be looked at as
it came. Its own error page quotes the line that it could not parse, credentials and all, so it is replaced here.
"""

import logging
from collections.abc import Callable

from aiohttp import HttpVersion10, HttpVersion11, web

from proxy.auth.credentials import presented
from proxy.errors import GateError, NotUnderstood
from proxy.gateway import Gateway
from proxy.vocabulary import Call, Now
from proxy.web import cors
from proxy.web.door import OURS, HttpDoor
from proxy.web.manners import Manners
from proxy.web.refusals import rendered

SPOKEN = (HttpVersion10, HttpVersion11)
NOT_SPOKEN = b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FrontDoor:
    """Turns aiohttp's requests into calls and the story's refusals into answers."""

    def __init__(self, gateway: Gateway, manners: Manners, *, now: Now, new_id: Callable[[], str]) -> None:
        self._gateway = gateway
        self._manners = manners
        self._now = now
        self._new_id = new_id
        self._log = logging.getLogger("proxy.web")

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.version not in SPOKEN:
            # aiohttp would run the call, and answer in HTTP/2.0 as if it could.
            if request.transport is not None:
                request.transport.write(NOT_SPOKEN)
                request.transport.close()
            return web.Response(status=505)
        origins = self._manners.origins
        if origins and cors.is_preflight(request.method, request.headers):
            # A browser's question whether it may ask: not a call, and nobody's to be charged.
            return web.Response(status=204, headers={**cors.on_preflight(request.headers, origins), **OURS})
        path, _, query = request.raw_path.partition("?")
        credentials, path = presented(request.headers.items(), path)
        call = Call(
            id=self._new_id(),
            at=self._now(),
            method=request.method,
            path=path,
            credentials=credentials,
            peer=_address(request),
            content_type=request.headers.get("Content-Type", ""),
            query=query,
        )
        door = HttpDoor(request, call, self._manners, cors.on_answers(request.headers.get("Origin"), origins))
        try:
            await self._gateway.answer(call, door)
        except GateError as error:
            return await door.refuse(error)
        except Exception as error:  # noqa: BLE001 - the door is the last place that could catch it
            self._log.error("call_crashed", extra={"call": call.id, "error": type(error).__qualname__}, exc_info=error)
            return await door.refuse(GateError())
        return door.begun


def _address(request: web.BaseRequest) -> str:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""


class _Connection(web.RequestHandler):
    """One client connection whose errors quote nothing."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """An answer for bytes that are no request; nothing of them is said or logged again."""
        error: GateError = NotUnderstood("That is not well-formed HTTP.") if status < 500 else GateError()
        _, headers, body = rendered(error, "/v1/", "")
        self.logger.warning("not_http", extra={"status": status, "error": type(exc).__name__})
        response = web.Response(status=status, headers={**headers, **OURS}, body=body)
        response.force_close()
        return response

    def log_exception(self, *args: object, **kwargs: object) -> None:
        """Name what was raised; its text may quote the client."""
        error = kwargs.get("exc_info")
        self.logger.error("connection_failed", extra={"error": type(error).__name__})


class Server(web.Server):
    """aiohttp's server with our connections."""

    def __init__(self, front_door: FrontDoor, manners: Manners) -> None:
        super().__init__(
            front_door,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=manners.keepalive_timeout,
            lingering_time=2.0,  # Seconds for a refused body to run out, so that the refusal is read before the end.
            logger=logging.getLogger("proxy.web"),
        )

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)
