"""A backend reached over HTTP. aiohttp's client for now; nobody outside this file knows.

Loopback connections are cheap, so each call has its own: a pooled one could be stale, and what is sent must never be
sent twice. A body goes with its length, never in chunks, for only then does Ollama notice a client that leaves.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from proxy.backends import trouble
from proxy.backends.headers import forwarded
from proxy.errors import BackendBrokeOff, BackendDown, BackendFailed, BackendSilent, ClientGone, GateError
from proxy.vocabulary import Ask, Backend, Upload

GOOD = (200, 201)
READ_AHEAD = 4 * 1024 * 1024
"""Bytes of an answer that are taken from the backend before the client takes them; aiohttp reads up to twice as many.
Ollama must not be made to wait: if it is left while it does, the model's slot may be lost for ever. So what has come is
taken once more before closing."""
DRAIN_SECONDS = 0.5
QUIET_SECONDS = 0.01
LONGEST_LIST = 16 * 1024 * 1024
LOOKING = {"Accept-Encoding": "identity", "User-Agent": "llamagate-catalogue"}
"""The gate's own looks at what is installed can be told from its callers' questions."""


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

    def __init__(self, response: aiohttp.ClientResponse, idle: float, context_length: Callable[[], int | None]) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self.context_length = context_length
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


class HttpBackend:
    """One backend, asked over HTTP."""

    def __init__(self, backend: Backend, patience: Patience) -> None:
        self._backend = backend
        self._patience = patience
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),  # What is set for one user must not go with another's call.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=patience.connect),
            auto_decompress=False,
            skip_auto_headers=("Content-Type",),  # Else it makes one up for a body that is not there.
            trust_env=False,
            read_bufsize=READ_AHEAD,
        )

    async def close(self) -> None:
        await self._session.close()

    @asynccontextmanager
    async def open(
        self, ask: Ask, upload: Upload | None, context_length: Callable[[], int | None]
    ) -> AsyncIterator[HttpAnswer]:
        """Ask, and wait for the head of a good answer. Leaving takes what has come and closes the connection."""
        response = await self._head(ask, upload)
        try:
            if response.status not in GOOD:
                raise trouble.refusal(response.status, await self._error_body(response))
            yield HttpAnswer(response, self._patience.idle, context_length)
        except (ClientGone, asyncio.CancelledError):
            await _undisturbed(asyncio.create_task(_drained(response)))
            raise
        finally:
            response.close()

    async def _head(self, ask: Ask, upload: Upload | None) -> aiohttp.ClientResponse:
        url = URL(self._backend.url + ask.path, encoded=True)  # As it stands: aiohttp would resolve dots in it.
        headers = forwarded(ask, self._backend.url)
        if upload is not None and upload.length is not None:
            headers["Content-Length"] = str(upload.length)
        try:
            async with asyncio.timeout(self._patience.first_byte) as waiting:
                return await self._session.request(
                    ask.endpoint.method,
                    url,
                    data=ask.body if upload is None else self._passed_on(upload, waiting),
                    headers=headers,
                    allow_redirects=False,
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise BackendDown from error
        except TimeoutError as error:
            raise BackendSilent from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(cause := error.__cause__, GateError):
                raise cause from error  # The upload was refused while it went on.
            raise BackendFailed from error

    async def _passed_on(self, upload: Upload, waiting: asyncio.Timeout) -> AsyncIterator[bytes]:
        """The upload's pieces. However long it takes as a whole, the backend is waited for from its last one on."""
        async for piece in upload.pieces:
            with suppress(RuntimeError):  # An answer that came early has ended the wait.
                waiting.reschedule(asyncio.get_running_loop().time() + self._patience.first_byte)
            yield piece

    async def _error_body(self, response: aiohttp.ClientResponse) -> bytes:
        read = bytearray()
        try:
            async with asyncio.timeout(self._patience.connect):
                while len(read) < trouble.MOST_BYTES and (piece := await response.content.readany()):
                    read += piece
        except (aiohttp.ClientError, OSError, TimeoutError):
            pass  # What came of it will do.
        return bytes(read)

    async def told(self, path: str) -> Mapping[str, Any]:
        """The JSON object at one of Ollama's own lists. Raises BackendFailed."""
        url = URL(self._backend.url + path, encoded=True)
        try:
            looking = self._session.get(url, headers=LOOKING, allow_redirects=False)
            async with asyncio.timeout(self._patience.connect), looking as said:
                if said.status != 200:
                    raise BackendFailed
                read = bytearray()
                while len(read) < LONGEST_LIST and (piece := await said.content.readany()):
                    read += piece
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise BackendDown from error
        except TimeoutError as error:
            raise BackendSilent from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise BackendFailed from error
        try:
            told = json.loads(read)
        except (ValueError, RecursionError) as error:
            raise BackendFailed from error
        if not isinstance(told, dict):
            raise BackendFailed
        return told


async def _undisturbed(task: asyncio.Task[None]) -> None:
    """Wait for the task's end. A client that is dropped is lost a moment later, which cancels its call once more."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])


async def _drained(response: aiohttp.ClientResponse) -> None:
    """Take what has come already, until nothing does: then whoever writes does not wait, and hears of the end."""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while not response.content.at_eof():
                async with asyncio.timeout(QUIET_SECONDS):
                    await response.content.readany()
