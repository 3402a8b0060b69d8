"""Who answers: the backend, or the gate itself."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from proxy.own import Flowing, Own
from proxy.policy.models import Name
from proxy.policy.permit import InstalledModels
from proxy.relay import Answer
from proxy.vocabulary import Ask, Caller, Take, Upload


class Backend(Protocol):
    async def installed(self, name: Name | None) -> InstalledModels:
        """See ``gateway.Upstream``."""

    def open(self, ask: Ask, upload: Upload | None) -> AbstractAsyncContextManager[Answer]:
        """See ``gateway.Upstream``."""


class Answers:
    """The story's ``Upstream``. What the gate answers itself does not need the backend, whether or not it is there."""

    def __init__(self, backend: Backend, own: Mapping[str, Own], flowing: Mapping[str, Flowing] | None = None) -> None:
        """``own`` are the gate's own routes, by their paths, and ``flowing`` those that come piece by piece."""
        self._backend = backend
        self._own = own
        self._flowing = flowing or {}

    async def installed(self, ask: Ask, name: Name | None) -> InstalledModels:
        return {} if ask.endpoint.own else await self._backend.installed(name)

    def open(self, caller: Caller, ask: Ask, upload: Upload | None) -> AbstractAsyncContextManager[Answer]:
        if not ask.endpoint.own:
            return self._backend.open(ask, upload)
        flowing = self._flowing.get(ask.endpoint.path)
        return self._told(caller, ask) if flowing is None else flowing(caller, ask)

    @asynccontextmanager
    async def _told(self, caller: Caller, ask: Ask) -> AsyncIterator[Answer]:
        yield OwnAnswer(await self._own[ask.endpoint.path](caller, ask.query))


class OwnAnswer:
    """An ``Answer`` that is there as a whole."""

    status = 200

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.headers: Mapping[str, str] = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "cache-control": "no-store",
        }

    async def flow(self, take: Take) -> None:
        if (later := take(self._body)) is not None:
            await later

    def context_length(self) -> int | None:
        """No model speaks here."""
        return None
