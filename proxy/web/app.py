"""Listen, and lead every request to the story.

aiohttp's low-level server: a router, a URL object or a multipart parser would only normalise what must be looked at as
it came. Its own error page quotes the line that it could not parse, credentials and all, so it is replaced here.
"""

import logging
from collections.abc import Callable, Sequence

from proxy.auth.credentials import or_certificate, presented
from proxy.errors import GateError
from proxy.gateway import Gateway
from proxy.vocabulary import Call, Now
from proxy.web import cors, health
from proxy.web import parts as web
from proxy.web.addresses import Network, client_address
from proxy.web.connection import OURS, Connection, Server
from proxy.web.door import HttpDoor
from proxy.web.manners import Manners
from proxy.web.tls import certificate_of

__all__ = ["FrontDoor", "Server"]


class FrontDoor:
    """Turns aiohttp's requests into calls and the story's refusals into answers."""

    def __init__(
        self,
        gateway: Gateway,
        manners: Manners,
        *,
        now: Now,
        new_id: Callable[[], str],
        trusted: Sequence[Network] = (),
    ) -> None:
        """``trusted`` are the networks of proxies that are believed about whom they speak for."""
        self._gateway = gateway
        self._trusted = trusted
        self._manners = manners
        self._now = now
        self._new_id = new_id
        self._log = logging.getLogger("proxy.web")

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if health.is_probe(request.method, request.raw_path):
            return health.alive(request)  # Not a call: it needs no credential and has no line.
        origins = self._manners.origins
        if origins and cors.is_preflight(request.method, request.headers):
            # A browser's question whether it may ask: not a call, and nobody's to be charged.
            return web.Response(status=204, headers={**cors.on_preflight(request.headers, origins), **OURS})
        path, _, query = request.raw_path.partition("?")
        credentials, path = presented(request.headers.items(), path)
        credentials = or_certificate(credentials, certificate_of(request.transport, request.headers, origins))
        call = Call(
            id=self._new_id(),
            at=self._now(),
            method=request.method,
            path=path,
            credentials=credentials,
            peer=self._peer(request),
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

    def _peer(self, request: web.BaseRequest) -> str:
        peer = request.protocol.peer if isinstance(request.protocol, Connection) else ""
        return client_address(peer, request.headers.items(), self._trusted) if self._trusted else peer
