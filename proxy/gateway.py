"""The story: one request, from the door to the ledger.

Read ``answer`` from top to bottom. Every step either gives the next one what it needs or raises one of ``errors``; the
types force the order, for there is no ``Caller`` without authentication and no ``Admission`` without a ``Caller``.
"""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from proxy.dialects.table import DIALECTS
from proxy.ledger.line import Ledger
from proxy.limits import Admission
from proxy.policy import endpoints
from proxy.policy.permit import may_use, permit
from proxy.relay import Answer, relay
from proxy.vocabulary import Ask, Call, Caller


class Door(Protocol):
    """The client, as the story sees it."""

    async def body(self) -> bytes:
        """The whole request body, at most once. Raises NotUnderstood where it is too large, too slow or encoded."""

    async def begin(self, status: int, headers: dict[str, str]) -> None:
        """Send the head of the answer. Raises ClientGone."""

    async def write(self, piece: bytes) -> None:
        """Send a piece of it. Raises ClientGone, or ClientStalled where the client does not take it in time."""

    async def end(self) -> None:
        """The answer is whole."""

    async def break_off(self, piece: bytes) -> None:
        """Send a last piece and close the connection without an end, so that nobody takes the answer for whole."""


class Authenticate(Protocol):
    async def caller(self, secrets: tuple[str, ...]) -> Caller:
        """Who holds the credential. Raises Unauthenticated, TwoCredentials or Forbidden."""


class Limiter(Protocol):
    def admit(self, caller: Caller, ask: Ask) -> AbstractAsyncContextManager[Admission]:
        """A place for this call, and what it may cost set aside. Raises Refused where it is too much."""


class Upstream(Protocol):
    def open(self, ask: Ask) -> AbstractAsyncContextManager[Answer]:
        """Ask, and wait for the head of a good answer; leaving early closes the connection. Raises BackendFailed."""


class Gateway:
    """Who answers each of the story's questions."""

    def __init__(self, authenticate: Authenticate, limiter: Limiter, upstream: Upstream, ledger: Ledger) -> None:
        self._authenticate = authenticate
        self._limiter = limiter
        self._upstream = upstream
        self._ledger = ledger

    async def answer(self, call: Call, door: Door) -> None:
        """Answer one call. What is raised has its line in the ledger already and only needs to be said."""
        async with self._ledger.line(call) as line:
            line.endpoint = endpoints.known(call.method, call.path)
            caller = line.caller = await self._authenticate.caller(call.secrets)
            endpoint, segment = endpoints.find(call.method, call.path)
            may_use(caller, endpoint)
            body = await door.body() if endpoint.method == "POST" else b""
            line.bytes_in = len(body)
            dialect = DIALECTS[endpoint.tongue]
            ask = line.ask = dialect.read(endpoint, body, segment)
            ask = line.ask = permit(caller, ask)
            async with self._limiter.admit(caller, ask) as admission:
                try:
                    with line.asking():
                        async with self._upstream.open(ask) as answer:
                            await relay(answer, ask, dialect, door, line)
                finally:
                    admission.settle(line.usage)
