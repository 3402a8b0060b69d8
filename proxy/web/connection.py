"""One client's connection, from its first byte to its last, and the server that has them all.

What is refused here never reaches a handler: it has no call and no line in the ledger, and is counted instead. Nothing
of what a client sent is said or logged again; aiohttp's own error page quotes the line that it could not parse.
"""

import asyncio
import ipaddress
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Any, Final, cast

from aiohttp import http_parser
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo

from proxy.errors import GateError, Misconfigured, NotUnderstood
from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import SEGMENT, Takes
from proxy.web import parts as web
from proxy.web import preamble
from proxy.web.addresses import peer_of
from proxy.web.framing import Framing, NotHttp
from proxy.web.manners import Manners
from proxy.web.preamble import NoPreamble
from proxy.web.refusals import rendered
from proxy.web.tally import Tally

OURS: Final = {"Server": "llamagate"}
"""On every answer, in place of aiohttp's own name and version."""
LARGEST_UPLOAD: Final = 2**42
"""Bytes; far more than any model has. What a plan allows is the door's to count."""
PREAMBLE_SECONDS: Final = 1.0
LINGERING_SECONDS: Final = 2.0
"""For what a refused client is still sending, so that it reads the refusal before it finds the connection gone."""
UPLOADS: Final = tuple(
    endpoint.path.partition(SEGMENT)[0].encode() for endpoint in ENDPOINTS if endpoint.takes is Takes.BYTES
)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
"""What answers the requests of a listener."""


class Turned(StrEnum):
    """Why a connection came to nothing, but for what ``framing`` refuses."""

    TOO_MANY = "too_many_connections"
    TOO_MANY_OF_ONE = "too_many_of_one_address"
    HEAD_TOO_SLOW = "head_too_slow"
    NO_PREAMBLE = "no_preamble"
    STALLED = "stalled"
    PARSER = "parser"
    """aiohttp refused what the framing had let through."""
    NOT_ACCEPTED = "not_accepted"
    """The kernel had no descriptor or no memory for it."""


class TooManyConnections(GateError):
    """The gate has as many as it can hold, or that address has."""

    status = 503
    code = "too_many_connections"
    default = "There are too many connections. Try again shortly."

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"}


def _written(error: GateError) -> bytes:
    status, headers, body = rendered(error, "/v1/", "")
    fields = {**headers, **OURS, "Content-Length": str(len(body)), "Connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} {error.code}\r\n{head}\r\n".encode() + body


_TOO_MANY: Final = _written(TooManyConnections())


def require_strict_parser() -> None:
    """Raises Misconfigured where aiohttp parses requests in Python, which takes what its compiled parser refuses."""
    if http_parser.HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise Misconfigured(
            "aiohttp has no compiled parser here, and the other one is not strict enough: install a binary wheel of "
            "aiohttp for this Python and this machine, and do not set AIOHTTP_NO_EXTENSIONS."
        )


def household(address: str) -> str:
    """Who shares an address: with IPv6, one subscriber has a whole /64."""
    told = ipaddress.ip_address(address)
    if isinstance(told, ipaddress.IPv4Address):
        return address
    return str(ipaddress.IPv6Network((int(told) >> 64 << 64, 64)))


@contextmanager
def accept_errors_told(tally: Tally) -> Iterator[None]:
    """asyncio tells of a connection that it could not accept a thousand times a second; here it is told once."""
    loop = asyncio.get_running_loop()
    others = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if str(context.get("message", "")).startswith("socket.accept()"):
            tally.note("connection_refused", Turned.NOT_ACCEPTED)
        elif others is not None:
            others(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(others)


class Connection(web.RequestHandler):
    """aiohttp's connection behind ``Framing``, with deadlines for whatever a client could drag out.

    Besides what aiohttp documents, this puts refusals into its queue of messages, ``_messages``, as it does itself, so
    that they come after the answers to what was asked before; and sees in ``_request_in_progress`` whether one is due.
    """

    __slots__ = (
        "_begun",
        "_content",
        "_drains",
        "_framing",
        "_has_entered",
        "_head_timer",
        "_household",
        "_is_deaf",
        "_last_word",
        "_manners",
        "_preamble",
        "_preamble_timer",
        "_refusal",
        "_server",
        "_stall_timer",
        "_wire",
        "peer",
    )

    def __init__(self, server: "Server", manners: Manners, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self.peer = ""
        """The client's address in normal form: the other end's, or whom a balancer has told of."""
        self._server = server
        self._manners = manners
        self._framing = Framing(self._bound, manners.requests_per_connection)
        self._wire: asyncio.Transport | None = None
        self._preamble: bytes | None = None
        """What has come of it; None where none is awaited any more."""
        self._is_deaf = False
        """Whatever still comes is not looked at."""
        self._has_entered = False
        self._household: str | None = None
        self._begun = 0
        self._content: StreamReader | None = None
        """The body of the request that was begun last."""
        self._refusal: NotHttp | None = None
        self._last_word: web.StreamResponse | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._preamble_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._drains: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it in, unless there are too many."""
        self._wire = cast(asyncio.Transport, transport)
        self.peer = peer_of(transport.get_extra_info("peername"))
        if not self._server.enters():
            self._turn_away(Turned.TOO_MANY)
            return
        self._has_entered = True
        is_trusted = self._server.trusts(self.peer)
        if not is_trusted and not self._share(self.peer):
            return
        super().connection_made(transport)
        _give_up_after(self._wire, self._manners.stall_timeout + self._manners.slack)
        self._head_timer = self._loop.call_later(self._manners.head_timeout, self._head_is_late)
        if is_trusted and self._server.proxy_protocol:
            self._preamble = b""
            self._preamble_timer = self._loop.call_later(PREAMBLE_SECONDS, self._no_preamble)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give back what it held."""
        self._is_deaf = True
        for timer in (self._head_timer, self._preamble_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._wire = self._head_timer = self._preamble_timer = self._stall_timer = None
        if self._has_entered:
            self._has_entered = False
            self._server.leaves(self._household)
        self._drained()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what has one meaning. aiohttp calls this too, with nothing, to go on with what it holds."""
        if not data:
            self._pass(data)
            return
        if self._preamble is not None and not self._is_deaf:
            data = self._after_preamble(self._preamble + data)
        if self._is_deaf or not data:
            return
        before = self._framing.heads
        try:
            passed = self._framing.feed(data)
        except NotHttp as refusal:
            self._refuse(refusal)
            return
        if self._framing.is_amid_head:
            if self._head_timer is None or before != self._framing.heads:
                self._stop_head_timer()
                self._head_timer = self._loop.call_later(self._manners.head_timeout, self._head_is_late)
        elif self._head_timer is not None:
            self._stop_head_timer()
        if passed:
            self._pass(passed)

    def _pass(self, data: bytes) -> None:
        """What goes on to aiohttp, which once it takes no other request would drop the rest of a body too."""
        is_last, self._close = self._close, False
        super().data_received(data)
        self._close = self._close or is_last

    def pause_writing(self) -> None:
        """The client takes nothing for now."""
        super().pause_writing()
        patience = self._manners.stall_timeout + self._manners.slack
        self._stall_timer = self._loop.call_later(patience, self._is_stalled)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._drained()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    async def drained(self) -> None:
        """Return once the client takes something again, or has gone."""
        if self.writing_paused and self._wire is not None:
            if self._drains is None:
                self._drains = self._loop.create_future()
            await asyncio.shield(self._drains)

    def _drained(self) -> None:
        if self._drains is not None:
            self._drains.set_result(None)
            self._drains = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """An answer for bytes that are no request, or for a mistake of ours."""
        error: GateError
        if isinstance(exc, NotHttp):
            error = exc
        elif status < 500:
            error = NotUnderstood("That is not well-formed HTTP.")
            self._is_deaf = True
            self._server.tally.note("not_http", Turned.PARSER, status=status)
        else:
            error = GateError()
            self.log_exception(exc_info=exc)
        status, headers, body = rendered(error, "/v1/", "")
        response = web.Response(status=status, headers={**headers, **OURS, "Connection": "close"}, body=body)
        response.force_close()
        self._last_word = response
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """The end of an answer. After a refusal of bytes no more is said, and what still comes runs out unread."""
        told = await super().finish_response(request, resp, start_time)
        if resp is self._last_word or isinstance(request.content.exception(), NotHttp):
            await self._linger()
        return told

    def log_exception(self, *args: object, **kwargs: object) -> None:
        """Name what was raised; its text may quote the client. What was refused is told of already."""
        error = kwargs.get("exc_info")
        if not isinstance(error, NotHttp):
            self.logger.error("connection_failed", extra={"error": type(error).__name__})

    def begins(self, content: StreamReader) -> bool:
        """A request is about to be handled, and this is its body. Whether there may be more requests after it."""
        self._begun += 1
        self._content = content
        if self._refusal is not None and self._begun == self._framing.heads:
            self._say_no(self._refusal)
        return self._begun < self._manners.requests_per_connection

    def winds_up(self) -> None:
        """Take no other request: close now where no answer is due, and else after it."""
        is_waiting = self._waiter is not None or self._begun == 0
        if is_waiting and not self._messages and not self._request_in_progress:
            self.force_close()
        else:
            self.close()

    def _bound(self, target: bytes) -> int:
        is_upload = any(prefix in target for prefix in UPLOADS)  # Before it may stand a key.
        return LARGEST_UPLOAD if is_upload else self._manners.max_body

    def _share(self, address: str) -> bool:
        """Whether the address may have one more connection; it is turned away where not."""
        if not address:
            return True
        self._household = self._server.shares(household(address))
        if self._household is None:
            self._turn_away(Turned.TOO_MANY_OF_ONE)
        return self._household is not None

    def _turn_away(self, why: Turned) -> None:
        self._is_deaf = True
        self._server.tally.note("connection_refused", why)
        if self._wire is not None:
            self._wire.write(_TOO_MANY)
            self._wire.close()

    def _after_preamble(self, data: bytes) -> bytes:
        """What follows it, once it is whole."""
        try:
            told = preamble.read(data)
        except NoPreamble:
            self._no_preamble()
            return b""
        if told is None:
            self._preamble = data
            return b""
        self._preamble = None
        if self._preamble_timer is not None:
            self._preamble_timer.cancel()
        if told.client is not None:
            self.peer = told.client
            if not self._server.trusts(told.client):
                self._share(told.client)
        return data[told.size :]

    def _no_preamble(self) -> None:
        self._is_deaf = True
        self._server.tally.note("connection_closed", Turned.NO_PREAMBLE)
        self._abort()

    def _refuse(self, refusal: NotHttp) -> None:
        """Say no, after all that was asked before has been answered."""
        self._is_deaf = True
        self._stop_head_timer()
        self._server.tally.note("not_http", refusal.why, status=refusal.status)
        if refusal.passed:
            self._pass(refusal.passed)
        self._refusal = refusal
        if self._begun == self._framing.heads:
            self._say_no(refusal)

    def _say_no(self, refusal: NotHttp) -> None:
        """Now that all has begun that was asked before, of which aiohttp's parser may have held some."""
        if refusal.is_in_body:
            if self._content is not None:
                self._content.set_exception(refusal)
            return
        self._messages.append((_ErrInfo(status=refusal.status, exc=refusal, message=""), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _head_is_late(self) -> None:
        self._head_timer = None
        self._is_deaf = True
        self._server.tally.note("connection_closed", Turned.HEAD_TOO_SLOW)
        if self._request_in_progress or self._messages:
            self.close()  # After the answers that are due.
        else:
            self.force_close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _is_stalled(self) -> None:
        self._server.tally.note("connection_closed", Turned.STALLED)
        self._abort()

    def _abort(self) -> None:
        if self._wire is not None:
            self._wire.abort()

    async def _linger(self) -> None:
        """RFC 9112 §9.6: a connection that is closed with bytes unread is reset, and the answer may be lost with it."""
        if self._wire is None or self._wire.is_closing():
            return
        if self._wire.can_write_eof():
            self._wire.write_eof()
        await asyncio.sleep(LINGERING_SECONDS)  # Once the client closes its end, this is cancelled.


def _give_up_after(transport: asyncio.Transport, seconds: float) -> None:
    """Let the kernel cut a client that acknowledges nothing, also where only the end of an answer is left to send."""
    wire = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux alone has it.
    if option is not None and wire is not None and wire.family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):  # The client may be gone already.
            wire.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))


def nobody(address: str) -> bool:
    """Trusts no address."""
    return False


class Server(web.Server):
    """aiohttp's server with our connections.

    Those of whom ``trusts`` says so may speak for many clients, so they are not counted by address; they say for whom
    with ``proxy_protocol``, and must.
    """

    def __init__(
        self,
        handler: Handler,
        manners: Manners,
        trusts: Callable[[str], bool] = nobody,
        *,
        proxy_protocol: bool = False,
    ) -> None:
        super().__init__(
            handler,
            request_factory=self._request,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=manners.keepalive_timeout,
            lingering_time=LINGERING_SECONDS,
            logger=logging.getLogger("proxy.web"),
        )
        self.trusts = trusts
        self.proxy_protocol = proxy_protocol
        self.tally = Tally(self._loop.time)
        self.open = 0
        """Connections, at the moment."""
        self._manners = manners
        self._shares: Counter[str] = Counter()

    def __call__(self) -> web.RequestHandler:
        return Connection(self, self._manners, loop=self._loop, **self._kwargs)

    def pre_shutdown(self) -> None:
        """No connection takes another request. aiohttp's own would leave those open that wait for one."""
        for connection in self.connections:
            if isinstance(connection, Connection):
                connection.winds_up()

    def enters(self) -> bool:
        """Count one more connection, if there may be one."""
        if self.open >= self._manners.connections:
            return False
        self.open += 1
        return True

    def shares(self, household: str) -> str | None:
        """Count one more connection for those who share an address, if they may have one; None if they may not."""
        if self._shares[household] >= self._manners.connections_per_address:
            return None
        self._shares[household] += 1
        return household

    def leaves(self, household: str | None) -> None:
        """One connection less."""
        self.open -= 1
        if household is not None:
            self._shares[household] -= 1
            if not self._shares[household]:
                del self._shares[household]

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        if isinstance(protocol, Connection) and not protocol.begins(payload):
            message = message._replace(should_close=True)
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop)
