"""A backend reached over HTTP. aiohttp's client for now; nobody outside this file knows.

Loopback connections are cheap, so each call has its own: a pooled one could be stale, and what is sent must never be
sent twice. The body goes with its length, never in chunks, for only then does Ollama notice a client that leaves.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from proxy.backends import trouble
from proxy.backends.headers import forwarded
from proxy.errors import BackendBrokeOff, BackendDown, BackendFailed, BackendSilent
from proxy.vocabulary import Ask, Backend


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a backend, in seconds. There is no limit to an answer as a whole."""

    connect: float = 5.0
    first_byte: float = 600.0
    """For the head: Ollama sends nothing at all while it loads a model and reads the prompt."""
    idle: float = 300.0
    """Between two pieces of a body."""


class HttpAnswer:
    """A good answer whose body is still on the wire."""

    def __init__(self, response: aiohttp.ClientResponse, idle: float) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._idle = idle
        _mind_the_end(response)

    async def pieces(self) -> AsyncIterator[bytes]:
        content = self._response.content
        while True:
            try:
                async with asyncio.timeout(self._idle):
                    piece = await content.readany()
            except TimeoutError as error:
                raise BackendSilent from error
            except (aiohttp.ClientError, OSError) as error:
                raise BackendBrokeOff from error
            if not piece:
                return
            yield piece


def _mind_the_end(response: aiohttp.ClientResponse) -> None:
    """Let whoever reads the body hear of its end, however it came.

    aiohttp's C parser closes the connection over a malformed chunk and tells nobody who waits for the next one.
    """
    protocol = None if response.connection is None else response.connection.protocol
    closed = None if protocol is None else protocol.closed
    if closed is None:
        return  # The body is here as a whole.

    def heard(lost: asyncio.Future[None]) -> None:
        error = None if lost.cancelled() else lost.exception()
        if not response.content.is_eof() and response.content.exception() is None:
            response.content.set_exception(error or aiohttp.ClientPayloadError("the connection ended"))

    closed.add_done_callback(heard)


class HttpUpstream:
    """One backend, asked over HTTP."""

    def __init__(self, backend: Backend, patience: Patience) -> None:
        self._backend = backend
        self._patience = patience
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),  # What is set for one user must not go with another's call.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=patience.connect),
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._session.close()

    @asynccontextmanager
    async def open(self, ask: Ask) -> AsyncIterator[HttpAnswer]:
        response = await self._head(ask)
        try:
            if response.status != 200:
                raise trouble.refusal(response.status, await self._error_body(response))
            yield HttpAnswer(response, self._patience.idle)
        finally:
            response.close()

    async def _head(self, ask: Ask) -> aiohttp.ClientResponse:
        url = URL(self._backend.url + ask.path, encoded=True)  # As it stands: aiohttp would resolve dots in it.
        try:
            async with asyncio.timeout(self._patience.first_byte):
                return await self._session.request(
                    ask.endpoint.method,
                    url,
                    data=ask.body,
                    headers=forwarded(ask, self._backend.url),
                    allow_redirects=False,
                )
        except (TimeoutError, aiohttp.ServerTimeoutError) as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise BackendDown from error
            raise BackendSilent from error
        except aiohttp.ClientConnectorError as error:
            raise BackendDown from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise BackendFailed from error

    async def _error_body(self, response: aiohttp.ClientResponse) -> bytes:
        read = bytearray()
        try:
            async with asyncio.timeout(self._patience.connect):
                while len(read) < trouble.MOST_BYTES and (piece := await response.content.readany()):
                    read += piece
        except (aiohttp.ClientError, OSError, TimeoutError):
            pass  # What came of it will do.
        return bytes(read)

    async def version(self) -> str | None:
        """What the backend says it is; None where it does not answer."""
        try:
            async with asyncio.timeout(self._patience.connect):
                async with self._session.get(
                    URL(f"{self._backend.url}/api/version", encoded=True), allow_redirects=False
                ) as response:
                    told = await response.json()
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError):
            return None
        return str(told.get("version", "unknown")) if isinstance(told, dict) else None
