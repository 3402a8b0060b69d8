"""A backend reached over HTTP.

A body goes with its length, never in chunks, for only then does Ollama notice a client that leaves. A call that is left
before its answer has ended ends its connection, which is how the backend hears of it.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from proxy.backends import heads, trouble
from proxy.backends.headers import LOOKING, beginning, more, written
from proxy.backends.place import Place
from proxy.backends.pool import Pool
from proxy.backends.wire import Wire
from proxy.errors import BackendFailed, BackendSilent, ClientGone, GateStopping
from proxy.vocabulary import Ask, Backend, Take, Upload

GOOD: Final = (200, 201)
DRAIN_SECONDS: Final = 0.5
QUIET_SECONDS: Final = 0.01
LATE: Final = 8
"""A silence is noticed later than it should be by one part in so many, or by ``MOST_LATE`` where that is less."""
MOST_LATE: Final = 1.0
LONGEST_LIST: Final = 16 * 1024 * 1024

Besides = Callable[[], Mapping[str, str]]
"""Header fields that the call of this task is asked with besides all others."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a backend, in seconds. There is no limit to an answer as a whole."""

    connect: float = 5.0
    first_byte: float = 600.0
    """For the head: Ollama sends nothing at all while it loads a model and reads the prompt."""
    idle: float = 300.0
    """Between two pieces of a body."""
    trial: float = 0.25
    """For which a connection has to stay open, unused, before it is believed that the backend keeps them."""
    rest: float = 0.01
    """For which each has to after an answer before it is used again."""


class HttpAnswer:
    """A good answer whose body is still on the wire."""

    __slots__ = ("_idle", "_wire", "context_length", "headers", "status")

    def __init__(
        self, wire: Wire, headers: Mapping[str, str], idle: float, context_length: Callable[[], int | None]
    ) -> None:
        self.status = wire.status
        self.headers = headers
        self.context_length = context_length
        self._wire = wire
        self._idle = idle

    async def flow(self, take: Take) -> None:
        await self._wire.flow(take, self._idle)


class HttpBackend:
    """One backend, asked over HTTP."""

    def __init__(self, backend: Backend, patience: Patience, besides: Besides | None = None) -> None:
        self._place = Place.of(backend.url)
        self._besides = besides
        self._patience = patience
        shortest = min(patience.connect, patience.first_byte, patience.idle)
        self._pool = Pool(
            self._place,
            patience.connect,
            patience.idle,
            trial_seconds=patience.trial,
            rest_seconds=patience.rest,
            look_seconds=min(MOST_LATE, shortest / LATE),
        )

    async def close(self) -> None:
        await self._pool.close()

    def open(self, ask: Ask, upload: Upload | None, context_length: Callable[[], int | None]) -> "Opened":
        """Ask, and wait for the head of a good answer. Leaving early takes what has come and closes the connection."""
        return Opened(self._pool, self._place, self._patience, ask, upload, context_length, self._besides)

    async def told(self, path: str) -> Mapping[str, Any]:
        """The JSON object at one of Ollama's own lists. Raises BackendFailed."""
        try:
            async with asyncio.timeout(self._patience.connect):
                read = await self._read(path)
        except TimeoutError as error:
            raise BackendSilent from error
        try:
            told = json.loads(read)
        except (ValueError, RecursionError) as error:
            raise BackendFailed from error
        if not isinstance(told, dict):
            raise BackendFailed
        return told

    async def _read(self, path: str) -> bytes:
        wire = await self._pool.wire()
        try:
            asked = written("GET", path, {"Host": self._place.netloc, **LOOKING}) + b"\r\n"
            await wire.ask(asked, is_bodiless=False, seconds=self._patience.connect)
            if wire.status != 200:
                raise BackendFailed
            return await wire.read(LONGEST_LIST)
        finally:
            self._pool.take_back(wire)


class Opened:
    """One question to a backend, from asking it to leaving it."""

    __slots__ = ("_ask", "_besides", "_context_length", "_is_sent", "_patience", "_place", "_pool", "_upload", "_wire")

    def __init__(
        self,
        pool: Pool,
        place: Place,
        patience: Patience,
        ask: Ask,
        upload: Upload | None,
        context_length: Callable[[], int | None],
        besides: Besides | None = None,
    ) -> None:
        self._pool = pool
        self._besides = besides
        self._place = place
        self._patience = patience
        self._ask = ask
        self._upload = upload
        self._context_length = context_length
        self._wire: Wire | None = None
        self._is_sent = upload is None
        """Nothing of the question is still to come."""

    async def __aenter__(self) -> HttpAnswer:
        wire = self._wire = await self._pool.wire()
        try:
            await self._asked(wire)
            head = wire.head
            if head is None:
                raise BackendFailed
            if wire.status not in GOOD:
                raise trouble.refusal(wire.status, await self._error_body(wire))
            said = heads.passed_on(head, self._ask.endpoint)
        except BaseException as error:
            await self._leave(wire, error)
            raise
        return HttpAnswer(wire, said, self._patience.idle, self._context_length)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._wire is not None:
            await self._leave(self._wire, error)

    async def _asked(self, wire: Wire) -> None:
        """Return once the head of the answer is here."""
        ask, upload = self._ask, self._upload
        endpoint, body = ask.endpoint, ask.body
        asked = beginning(endpoint.method, ask.path, endpoint.takes, self._place.netloc)
        if self._besides is not None:
            asked += more(self._besides())
        if upload is not None:
            length = upload.length
            asked += b"Transfer-Encoding: chunked\r\n\r\n" if length is None else b"Content-Length: %d\r\n\r\n" % length
        elif endpoint.method not in ("GET", "HEAD"):
            asked += b"Content-Length: %d\r\n\r\n%b" % (len(body or b""), body or b"")
        else:
            asked += b"\r\n"
        is_bodiless = endpoint.method == "HEAD"
        answered = wire.ask(asked, is_bodiless=is_bodiless, seconds=self._patience.first_byte)
        if upload is None:
            await answered
            return
        sending = asyncio.ensure_future(self._send(wire, upload))
        try:
            await asyncio.wait((answered, sending), return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and not answered.done():
                sending.result()  # Where the upload cannot go on, that is why.
            await answered  # One that comes early ends the upload.
        finally:
            sending.cancel()
            if await _undisturbed(sending):
                raise asyncio.CancelledError

    async def _send(self, wire: Wire, upload: Upload) -> None:
        """The upload's pieces. However long it takes as a whole, the backend is waited for from its last one on."""
        in_chunks = upload.length is None
        try:
            async for piece in upload.pieces:
                wire.wait_for_head(self._patience.first_byte)
                if piece:
                    await wire.send(b"%x\r\n%b\r\n" % (len(piece), piece) if in_chunks else piece)
            if in_chunks:
                await wire.send(b"0\r\n\r\n")
            self._is_sent = True
        except BackendFailed:
            pass  # Whoever waits for the answer hears of that.

    async def _error_body(self, wire: Wire) -> bytes:
        try:
            async with asyncio.timeout(self._patience.connect):
                return await wire.read(trouble.MOST_BYTES)
        except (BackendFailed, TimeoutError):
            return b""

    async def _leave(self, wire: Wire, error: BaseException | None) -> None:
        """Keep the connection for the next call where all of a good answer came, else end it.

        Where the answer came before all of the question was sent, the next one would be taken for the rest of it.
        What the backend is just saying is taken before: one that is left while it waits for somebody may never notice.
        """
        self._wire = None
        if wire.is_over and self._is_sent and error is None:
            self._pool.take_back(wire)
            return
        if isinstance(error, (ClientGone, GateStopping, asyncio.CancelledError)):
            wire.stop_listening()
            await _undisturbed(asyncio.ensure_future(_drained(wire)))
        wire.abort()


async def _undisturbed(task: "asyncio.Future[None]") -> bool:
    """Wait for the task's end, and tell whether the call was cancelled meanwhile.

    A client that is dropped is lost a moment later, which cancels its call once more.
    """
    was_cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            was_cancelled = True
    if not task.cancelled():
        task.exception()
    return was_cancelled


async def _drained(wire: Wire) -> None:
    """Return once nothing comes any more: then whoever writes does not wait, and hears of the end."""
    loop = asyncio.get_running_loop()
    until = loop.time() + DRAIN_SECONDS
    wire.heard_at = loop.time()
    # What is waited for is that nothing happens.
    while wire.is_open and loop.time() < until and loop.time() - wire.heard_at < QUIET_SECONDS:  # noqa: ASYNC110
        await asyncio.sleep(QUIET_SECONDS)
