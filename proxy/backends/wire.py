"""One connection to a backend: HTTP/1.1, asked one thing at a time.

The answer's bytes are handed on in the very turn of the loop in which they come, by a plain call: to wake a task for
each would cost more than all else that is done with them. What comes after the end of an answer, or before anything was
asked, belongs to nobody: the connection is not used again.
"""

import asyncio
import errno
from collections import deque
from collections.abc import Callable
from typing import Final, cast

import httptools

from proxy.backends import heads
from proxy.backends.heads import Head
from proxy.errors import BackendBrokeOff, BackendFailed, BackendSilent
from proxy.vocabulary import Later, Take

READ_AHEAD: Final = 4 * 1024 * 1024
"""Bytes of an answer that are taken from the backend before the client takes them, and what comes in one piece more.
Ollama must not be made to wait: if it is left while it does, the model's slot may be lost for ever."""
MOST_AT_ONCE: Final = 16 * 1024
"""Bytes of an answer that are looked at before anybody else has a turn: as many line ends take some 20 ms."""
LARGEST_HEAD: Final = 64 * 1024
"""Bytes that may come in which there is nothing of a body: heads, trailers, what chunks say beside their sizes."""
MOST_INTERIM: Final = 8
"""Interim answers (RFC 9110 §15.2) before the one that counts."""


class Wire(asyncio.Protocol):
    """A connection, from its beginning to its end."""

    __slots__ = (
        "_beside",
        "_failure",
        "_fields",
        "_fields_bytes",
        "_gone",
        "_has_begun",
        "_head_due",
        "_held",
        "_held_bytes",
        "_interim",
        "_is_bodiless",
        "_is_bulk",
        "_is_clean",
        "_is_deaf",
        "_is_interim",
        "_is_over",
        "_is_paused",
        "_loop",
        "_may_write",
        "_owed",
        "_parser",
        "_patience",
        "_raised",
        "_reason",
        "_take",
        "_transport",
        "_waiter",
        "_waiting",
        "head",
        "heard_at",
        "status",
    )

    def __init__(self, gone: "Callable[[Wire], None]", waiting: "set[Wire]") -> None:
        """``gone`` is told once the connection has ended.

        While it waits for the backend it is among those that are ``waiting``, so that somebody has it ``look`` from
        time to time: a timer of its own for each call costs more, in time and in memory.
        """
        self._gone = gone
        self._waiting = waiting
        self._patience: float | None = None
        """For how many seconds nothing may come; None while nothing is waited for."""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._may_write: asyncio.Future[None] | None = None
        self._is_clean = True
        """Nothing has come that nobody asked for."""
        self._is_over = True
        self._is_paused = False
        self._begin(is_bodiless=False)

    def _begin(self, *, is_bodiless: bool) -> None:
        self.status = 0
        self.head: Head | None = None
        self.heard_at = 0.0
        """When the waiting began, or the last of the body came, on the loop's clock."""
        self._reason = b""
        self._fields: list[tuple[bytes, bytes]] | None = None
        self._fields_bytes = 0
        self._has_begun = False
        self._beside = 0
        self._interim = 0
        self._is_interim = False
        self._is_bodiless = is_bodiless
        self._failure: BackendFailed | None = None
        self._held: deque[bytes] | None = None
        """What nobody has taken yet; None where there is none, for most wait with nothing."""
        self._held_bytes = 0
        self._take: Take | None = None
        self._is_bulk = False
        self._is_deaf = False
        self._owed: Later | None = None
        self._raised: Exception | None = None
        self._head_due: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[None] | None = None

    # What is asked.

    @property
    def is_usable(self) -> bool:
        """Whether something can be asked now: all that was asked before is sent, and all of its answer has come."""
        wire = self._transport
        if wire is None or not self._is_over or not self._is_clean:
            return False
        return not wire.is_closing() and not wire.get_write_buffer_size()

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    def fileno(self) -> int:
        """The descriptor; -1 once the connection has ended."""
        wire = None if self._transport is None else self._transport.get_extra_info("socket")
        return -1 if wire is None else int(wire.fileno())

    def ask(self, request: bytes, *, is_bodiless: bool, seconds: float) -> "asyncio.Future[None]":
        """Send a request, or the beginning of one. The future is done once the head of a final answer is here.

        It raises BackendFailed where that is no answer, and BackendSilent after so many seconds. ``is_bodiless`` says
        that the answer has no body whatever its head says, as that to HEAD.
        """
        self._begin(is_bodiless=is_bodiless)
        self._is_over = False
        due = self._head_due = self._loop.create_future()
        if self._transport is None or self._transport.is_closing():  # There uvloop raises what asyncio only logs.
            self._fail(BackendFailed())
            return due
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        self.wait_for_head(seconds)
        self._transport.write(request)
        return due

    def wait_for_head(self, seconds: float) -> None:
        """So many seconds from now on."""
        if self.head is None and not self._is_over:
            self._wait(seconds)

    async def send(self, piece: bytes) -> None:
        """Another piece of the request. Raises BackendFailed where the connection has ended."""
        if self._transport is None or self._transport.is_closing():
            raise self._failure or BackendFailed()
        self._transport.write(piece)
        if self._may_write is not None:
            await asyncio.shield(self._may_write)

    # What is answered.

    @property
    def is_over(self) -> bool:
        """Whether all of the answer has come."""
        return self._is_over

    async def flow(self, take: Take, idle: float) -> None:
        """Hand on the body as it comes, until its end.

        Raises BackendSilent where nothing comes for so many seconds, BackendBrokeOff where the body breaks off, and
        whatever ``take`` does or the waiting that it asks for.
        """
        try:
            while True:
                await self._hand_on(take)
                if self._failure is not None:
                    raise self._failure
                if self._is_over:
                    return
                self._wait(idle)
                self._take = take
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._take = self._waiter = None
                    self._stop_waiting()
                if self._raised is not None:
                    raise self._raised
                if self._owed is not None:
                    owed, self._owed = self._owed, None
                    await owed
        finally:
            self._raised = None
            if self._owed is not None:
                self._owed.close()
                self._owed = None

    async def _hand_on(self, take: Take) -> None:
        """What is held, in pieces that do not take long."""
        turn = 0
        while (held := self._held) is not None:
            piece = held.popleft()
            if len(piece) > MOST_AT_ONCE:
                held.appendleft(piece[MOST_AT_ONCE:])
                piece = piece[:MOST_AT_ONCE]
            if not held:
                self._held = None
            self._held_bytes -= len(piece)
            turn += len(piece)
            if self._is_paused and self._held_bytes < READ_AHEAD // 2:
                self._resume()
            if (owed := take(piece)) is not None:
                await owed
            elif turn >= MOST_AT_ONCE and self._held is not None:
                turn = 0
                await asyncio.sleep(0)  # There may be megabytes more, and nothing else that waits for anything.

    async def read(self, most: int) -> bytes:
        """So many bytes of the body, or all of it where that is less. Raises BackendFailed where it breaks off."""
        read = bytearray()
        while True:
            read += b"".join(self._held or ())
            self._held, self._held_bytes = None, 0
            if self._is_paused:
                self._resume()
            if len(read) >= most:
                return bytes(read[:most])
            if self._failure is not None:
                raise self._failure
            if self._is_over:
                return bytes(read)
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def stop_listening(self) -> None:
        """What still comes is thrown away, and the backend is not made to wait any more."""
        self._is_deaf = True
        self._held, self._held_bytes = None, 0
        if self._is_paused:
            self._resume()

    def abort(self) -> None:
        """End the connection at once, with nothing more sent or taken."""
        if self._transport is not None:
            self._transport.abort()

    # The loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits hears of it."""
        self._transport = None
        if not self._is_over:
            # It was there, and left without a word.
            is_gone = isinstance(exc, OSError) and exc.errno == errno.ETIMEDOUT
            failure: BackendFailed = BackendSilent() if is_gone else BackendFailed()
            if self.head is not None and not is_gone:
                failure = BackendBrokeOff()
            failure.__cause__ = exc
            self._fail(failure)
        self._stop_waiting()
        self.resume_writing()
        self._parser = None  # It holds on to this.
        self._gone(self)

    def pause_writing(self) -> None:
        if self._may_write is None:
            self._may_write = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._may_write is not None:
            self._may_write.set_result(None)
            self._may_write = None

    def eof_received(self) -> None:
        """The end of a body that nothing else ends; of every other one it is a breach."""
        if not self._is_over and self.head is not None and self.head.ends_with_the_connection:
            self._end(is_reusable=False)

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if self._is_over or parser is None:
            self._is_clean = False
            self.abort()
            return
        if self._is_deaf:
            self.heard_at = self._loop.time()
            return
        self._beside += len(data)
        if len(data) > MOST_AT_ONCE:
            self._is_bulk = True
        try:
            if not self._has_begun:
                self._has_begun = True
                if data[:5] != b"HTTP/"[: len(data)]:  # The parser takes RTSP for it, and leading line ends.
                    raise httptools.HttpParserError("no HTTP")
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._is_clean = False
            if not self._is_over:
                self._broken(error)
        if self._beside > LARGEST_HEAD and not self._is_over:
            self._broken(None)
        if self._is_bulk:
            self._is_bulk = False
            self._wake()

    # The parser's side.

    def on_message_begin(self) -> None:
        if self._is_over:
            self._is_clean = False  # There is more than what was asked for.

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is None:  # Else a trailer, which nobody is told of.
            if self._fields is None:
                self._fields = []
            self._fields.append((name, value))
            self._fields_bytes += len(name) + len(value)

    def on_headers_complete(self) -> None:
        """Raises BackendFailed, which ends the parsing."""
        if self._is_over or self._parser is None:
            return
        status = self._parser.get_status_code()
        if self._fields_bytes + len(self._reason) > LARGEST_HEAD:
            raise BackendFailed("The model server's answer has too large a head.")
        if 100 <= status < 200:
            self._is_interim = True
            self._interim += 1
            if status == 101 or self._interim > MOST_INTERIM:
                raise BackendFailed("The model server changed to something that this gate does not speak.")
            self._reason, self._fields = b"", None
            return
        major, _, minor = self._parser.get_http_version().partition(".")
        self.head = heads.understood((int(major), int(minor)), self._reason, self._fields or ())
        self.status = status
        self._beside = 0
        self._fields = None
        self._stop_waiting()
        if self._is_bodiless:
            self._end(is_reusable=False)  # The parser would take what comes next for its body.
        if self._head_due is not None and not self._head_due.done():
            self._head_due.set_result(None)

    def on_body(self, piece: bytes) -> None:
        """Hand it on, or hold it until somebody takes it."""
        if self._is_over:
            return
        self._beside = 0
        self.heard_at = self._loop.time()
        take = self._take
        if take is None or self._is_bulk or self._held is not None:
            self._hold(piece)
            return
        try:
            owed = take(piece)
        except Exception as error:  # noqa: BLE001  # Whoever waits is told of it; the parser would only wrap it.
            self._raised, self._take = error, None
            self._wake()
        else:
            if owed is not None:
                self._owed, self._take = owed, None
                self._wake()

    def on_message_complete(self) -> None:
        if self._is_interim:
            self._is_interim = False
        elif not self._is_over and self._parser is not None:
            self._end(is_reusable=self._parser.should_keep_alive())

    # Its own.

    def _hold(self, piece: bytes) -> None:
        if self._held is None:
            self._held = deque()
        self._held.append(piece)
        self._held_bytes += len(piece)
        wire = self._transport
        if self._held_bytes > READ_AHEAD and not self._is_paused and wire is not None and not wire.is_closing():
            self._is_paused = True
            wire.pause_reading()
        if not self._is_bulk:
            self._wake()

    def _resume(self) -> None:
        self._is_paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end(self, *, is_reusable: bool) -> None:
        """All of the answer is here."""
        self._is_over = True
        self._is_clean = self._is_clean and is_reusable
        self._stop_waiting()
        self._wake()

    def _broken(self, error: Exception | None) -> None:
        """What came is no answer, or no longer one."""
        cause = error.__context__ if error is not None else None
        if isinstance(cause, BackendFailed):
            failure = cause
        else:
            failure = BackendFailed() if self.head is None else BackendBrokeOff()
            failure.__cause__ = error
        self._fail(failure)
        self.abort()

    def _fail(self, failure: BackendFailed) -> None:
        self._is_over, self._is_clean = True, False
        self._failure = failure
        self._stop_waiting()
        if self._head_due is not None and not self._head_due.done():
            self._head_due.set_exception(failure)
            self._head_due.exception()  # Whoever waited may have left.
        self._wake()

    def _wait(self, seconds: float) -> None:
        self.heard_at = self._loop.time()
        self._patience = seconds
        self._waiting.add(self)

    def _stop_waiting(self) -> None:
        self._patience = None
        self._waiting.discard(self)

    def look(self, now: float) -> None:
        """Whether the backend has been silent for too long, by the loop's clock."""
        if self._patience is not None and now - self.heard_at >= self._patience:
            self._fail(BackendSilent())
            self.abort()
