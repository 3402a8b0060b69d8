"""Put the traces together: who is told of them, and whose word for it is taken to which trace a call belongs."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from proxy import __version__
from proxy.bootstrap.storage import pepper_of
from proxy.config.settings import Settings
from proxy.telemetry.traces import OtlpCollector, Traces, pseudonyms
from proxy.web import parts as web
from proxy.web.addresses import trusting
from proxy.web.app import FrontDoor
from proxy.web.connection import Connection

TRACEPARENT = "traceparent"


class TracedDoor:
    """The front door, where each call begins in a trace."""

    def __init__(self, door: FrontDoor, traces: Traces, believes: Callable[[str], bool]) -> None:
        """``believes`` says of the address at the other end of a connection whether its word is taken."""
        self._door = door
        self._traces = traces
        self._believes = believes

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self._traces.begins(request.method, self._believed(request))
        return await self._door(request)

    def _believed(self, request: web.BaseRequest) -> str | None:
        said = request.headers.getall(TRACEPARENT, [])
        if len(said) != 1:  # Of two nobody can tell which was meant.
            return None
        peer = request.protocol.peer if isinstance(request.protocol, Connection) else ""
        return said[0] if self._believes(peer) else None


def believing(settings: Settings) -> Callable[[str], bool]:
    """Whose word is taken, by their address."""
    match settings.traces.honour_traceparent:
        case "everybody":
            return lambda _: True
        case "proxies":
            return trusting(settings.trusted_networks)
        case _:
            return lambda _: False


@asynccontextmanager
async def tracing(settings: Settings) -> AsyncIterator[Traces | None]:
    """The traces that are told; None where nothing is traced. Leaving it tells of what is left.

    Raises Misconfigured where the libraries for it are not installed.
    """
    told = settings.traces
    endpoint = told.endpoint
    if endpoint is None:
        yield None
        return
    pseudonym = pseudonyms(pepper_of(settings)) if told.callers == "hash" else None

    def collector() -> OtlpCollector:
        return OtlpCollector(endpoint, version=__version__, random_bits=secrets.randbits, pseudonym=pseudonym)

    # In a thread, for what it loads takes half a second.
    traces = Traces(await asyncio.to_thread(collector), secrets.randbits, sample=float(told.sample))
    try:
        yield traces
    finally:
        await asyncio.to_thread(traces.close)
