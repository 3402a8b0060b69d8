"""A backend reached over HTTP. aiohttp's client for now; nobody outside this file knows.

Loopback connections are cheap, so each call has its own: a pooled one could be stale, and what is sent must never be
sent twice. A body goes with its length, never in chunks, for only then does Ollama notice a client that leaves.
"""

import asyncio
import errno
import io
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from proxy.backends import heads, sockets, trouble
from proxy.backends.headers import forwarded
from proxy.errors import (
    BackendBrokeOff,
    BackendDown,
    BackendFailed,
    BackendSilent,
    ClientGone,
    GateError,
    GateStopping,
)
from proxy.vocabulary import Ask, Backend, Upload

GOOD = (200, 201)
READ_AHEAD = 4 * 1024 * 1024
"""Bytes of an answer that are taken from the backend before the client takes them; aiohttp reads up to twice as many.
Ollama must not be made to wait: if it is left while it does, the model's slot may be lost for ever. So what has come is
taken once more before closing."""
DRAIN_SECONDS = 0.5
QUIET_SECONDS = 0.01
MOST_AT_ONCE = 16 * 1024
"""Bytes of an answer that are looked at before anybody else has a turn: as many line ends take some 20 ms."""
LONGEST_AT_ONCE = 512 * 1024
"""Bytes of a request that are written without waiting until the backend takes them."""
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

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        headers: Mapping[str, str],
        idle: float,
        context_length: Callable[[], int | None],
    ) -> None:
        self.status = response.status
        self.headers = headers
        self.context_length = context_length
        self._response = response
        self._idle = idle

    async def pieces(self) -> AsyncIterator[bytes]:
        content = self._response.content
        while True:
            try:
                async with asyncio.timeout(self._idle):
                    piece = await content.read(MOST_AT_ONCE)
            except TimeoutError as error:
                raise BackendSilent from error
            except (aiohttp.ClientError, OSError) as error:
                raise BackendBrokeOff from error
            if not piece:
                return
            yield piece
            if len(piece) == MOST_AT_ONCE:
                await asyncio.sleep(0)  # There may be megabytes more, and nothing else that waits for anything.


def _once() -> aiohttp.ClientMiddlewareType:
    """For one request: aiohttp would send a GET, a HEAD or a DELETE again where the connection ends before an answer.

    That is for stale connections, and ours are new: who hung up may be at work on it, or mean it.
    """
    is_asked = False

    async def ask(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        nonlocal is_asked
        if is_asked:
            raise aiohttp.ClientConnectionError("the connection ended before an answer")
        is_asked = True
        return await send(request)

    return ask


def _whole(body: bytes | None) -> bytes | io.BytesIO | None:
    """A body as aiohttp is to send it: a long one in pieces, for a backend that does not take them."""
    return io.BytesIO(body) if body is not None and len(body) > LONGEST_AT_ONCE else body


def _understood(response: aiohttp.ClientResponse) -> heads.Head:
    """The head as it came, and whoever reads the body hears of its end. Raises BackendFailed."""
    _mind_the_end(response)
    version = response.version or aiohttp.HttpVersion(0, 9)
    reason = (response.reason or "").encode("utf-8", "surrogateescape")
    return heads.understood((version.major, version.minor), reason, response.raw_headers)


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
            connector=aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=sockets.watched(patience.idle)),
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
        opened: list[socket.socket] = []
        try:
            with sockets.noted(opened):
                response = await self._head(ask, upload)
            try:
                head = _understood(response)
                if response.status not in GOOD:
                    raise trouble.refusal(response.status, await self._error_body(response))
                said = heads.passed_on(head, ask.endpoint)
                yield HttpAnswer(response, said, self._patience.idle, context_length)
            except (ClientGone, GateStopping, asyncio.CancelledError):
                await _undisturbed(asyncio.create_task(_drained(response)))
                raise
            finally:
                response.close()
        finally:
            sockets.cut(opened)

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
                    data=_whole(ask.body) if upload is None else self._passed_on(upload, waiting),
                    headers=headers,
                    allow_redirects=False,
                    middlewares=(_once(),),
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise BackendDown from error
        except TimeoutError as error:
            raise BackendSilent from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(cause := error.__cause__, GateError):
                raise cause from error  # The upload was refused while it went on.
            if isinstance(error, OSError) and error.errno == errno.ETIMEDOUT:
                raise BackendSilent from error  # It was there, and is gone without a word.
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
        return bytes(read[: trouble.MOST_BYTES])

    async def told(self, path: str) -> Mapping[str, Any]:
        """The JSON object at one of Ollama's own lists. Raises BackendFailed."""
        url = URL(self._backend.url + path, encoded=True)
        try:
            looking = self._session.get(url, headers=LOOKING, allow_redirects=False, middlewares=(_once(),))
            async with asyncio.timeout(self._patience.connect), looking as said:
                _understood(said)
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
