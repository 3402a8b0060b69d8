"""The story: one request, from the door to the ledger.

Read ``answer`` from top to bottom. Every step either gives the next one what it needs or raises one of ``errors``; the
types force the order, for there is no ``Caller`` without authentication and no ``Admission`` without a ``Caller``.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import Protocol

from proxy.aside import aside
from proxy.dialects import Said
from proxy.dialects.table import DIALECTS
from proxy.ledger.line import Ledger
from proxy.limits.limiter import Turnstile
from proxy.policy import endpoints, models
from proxy.policy.permit import InstalledModels, may_ask, may_see, permit, wanted
from proxy.relay import Answer, Client, relay
from proxy.vocabulary import Ask, Call, Caller, Endpoint, Takes, Tell, Tongue, Upload


class Door(Client, Protocol):
    """The client, as the story sees it: what it asks, and through ``relay.Client`` what it is told.

    Whatever waits raises ClientGone where the client leaves meanwhile.
    """

    def tell(self, fields: Mapping[str, str]) -> None:
        """Header fields that the answer shall have, whatever it will be."""

    async def body(self, endpoint: Endpoint) -> bytes:
        """The whole body, decoded, at most once. Raises NotUnderstood where it is too large, too slow or encoded."""

    def upload(self, most: int | None) -> Upload:
        """A body that is passed on as it comes. Raises NotUnderstood where it is known to be too large or encoded."""


class Authenticate(Protocol):
    async def caller(self, call: Call) -> Caller:
        """Who proves to have sent it. Raises Unauthenticated, TwoCredentials, Forbidden or AuthUnavailable."""


class Strangers(Protocol):
    def counted(self, peer: str) -> AbstractContextManager[None]:
        """Whatever proves nothing in here counts against the address. Raises TooManyFailures in place of the rest."""


class Limiter(Protocol):
    def telling(self, caller: Caller, tongue: Tongue, tell: Tell) -> AbstractAsyncContextManager[Turnstile]:
        """One call of this caller, who is told what is left on whatever becomes of it."""


class Upstream(Protocol):
    async def installed(self, ask: Ask, name: models.Name | None) -> InstalledModels:
        """What the backend has, looked up anew if this name is not among it; without a name, what is known by now.

        Raises BackendFailed while nothing is known.
        """

    def open(self, caller: Caller, ask: Ask, upload: Upload | None) -> AbstractAsyncContextManager[Answer]:
        """Ask, and wait for the head of a good answer; leaving early closes the connection. Raises BackendFailed."""


class Gateway:
    """Who answers each of the story's questions."""

    def __init__(
        self, strangers: Strangers, authenticate: Authenticate, limiter: Limiter, upstream: Upstream, ledger: Ledger
    ) -> None:
        self._strangers = strangers
        self._authenticate = authenticate
        self._limiter = limiter
        self._upstream = upstream
        self._ledger = ledger

    async def answer(self, call: Call, door: Door) -> None:
        """Answer one call. What is raised has its line in the ledger already and only needs to be said."""
        async with self._ledger.line(call) as line:
            line.endpoint = endpoints.known(call.method, call.path)
            with self._strangers.counted(call.peer):
                caller = line.begun_by(await self._authenticate.caller(call))
            async with self._limiter.telling(caller, endpoints.tongue_of(call.path), door.tell) as turnstile:
                endpoint, segment = endpoints.find(call.method, call.path)
                may_ask(caller, endpoint)
                body = await door.body(endpoint) if endpoint.takes in (Takes.JSON, Takes.FORM) else b""
                line.bytes_in = len(body)
                dialect = DIALECTS[endpoint.tongue]
                said = Said(body, call.content_type, segment, call.parameters, call.peer)
                asked = line.ask = await aside(len(body), dialect.read, endpoint, said)
                installed = await self._upstream.installed(asked, wanted(caller, asked))
                ask = line.ask = await aside(len(body), permit, caller, asked, installed)
                async with turnstile.admit(ask) as admission:
                    try:
                        upload = line.counted(door.upload(ask.most_bytes)) if endpoint.takes is Takes.BYTES else None
                        async with line.asking(door.tell), self._upstream.open(caller, ask, upload) as answer:
                            await relay(answer, ask, dialect, door, line, partial(may_see, caller, installed))
                    finally:
                        admission.settle(line.usage, line.gpu_seconds)
