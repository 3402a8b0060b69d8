"""The admin listener: whether the gate is ready, and its figures, for whoever reaches it. Nothing else is here.

It asks for no credential, so it is on an address of its own that strangers do not reach. Where only this machine does,
a browser on it may be led here by a name that somebody else owns (DNS rebinding), so any such name is refused.
"""

import json
from collections.abc import Awaitable, Callable, Mapping

from proxy.config.addresses import is_loopback
from proxy.web import health
from proxy.web import parts as web
from proxy.web.connection import OURS
from proxy.web.health import Ready

METRICS = "/metrics"
_OURS = {**OURS, "Cache-Control": "no-store"}

Figures = Callable[[], Awaitable[tuple[str, bytes]]]
"""The type and the text of all metrics."""


class BackDoor:
    """A handler of aiohttp's low-level server. ``only_here``: it listens where only this machine reaches it."""

    def __init__(self, ready: Ready, figures: Figures, *, only_here: bool) -> None:
        self._ready = ready
        self._figures = figures
        self._only_here = only_here

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await self._answer(request)
        if request.body_exists:
            response.force_close()  # Nobody will read that body.
        return response

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if self._only_here and not _is_of_this_machine(request.headers.get("Host", "")):
            # RFC 9110 §15.5.20: not a host that is answered for here.
            return _told(421, {"error": "Ask by an address of this machine, or as localhost."})
        path = request.raw_path.partition("?")[0]
        if path not in (health.HEALTH, health.READY, METRICS):
            return _told(404, {"error": f"There are {health.HEALTH}, {health.READY} and {METRICS} here."})
        if request.method not in health.METHODS:
            return _told(405, {"error": "This can only be read."}, {"Allow": ", ".join(health.METHODS)})
        match path:
            case health.HEALTH:
                return health.alive(request)
            case health.READY:
                readiness = self._ready()
                return _told(200 if readiness.is_ready else 503, readiness.told())
        content_type, text = await self._figures()
        return web.Response(body=text, headers={**_OURS, "Content-Type": content_type})


def _told(status: int, said: Mapping[str, object], fields: Mapping[str, str] | None = None) -> web.Response:
    headers = {**_OURS, "Content-Type": "application/json", **(fields or {})}
    return web.Response(status=status, headers=headers, body=json.dumps(said).encode())


def _is_of_this_machine(host: str) -> bool:
    """Whether a header ``Host`` names this machine by what no stranger can own; HTTP/1.0 may have none."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return not host or is_loopback(name)
