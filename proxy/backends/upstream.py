"""The one backend behind the gate, and what is known of it: its models, and how much the loaded ones hold."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, TypeVar

from proxy.backends.catalogue import Catalogue
from proxy.backends.http import HttpAnswer, HttpBackend
from proxy.errors import BackendFailed
from proxy.vocabulary import Ask, Clock, Risk, Upload

Name = TypeVar("Name")
Installed = TypeVar("Installed")

ReadTags = Callable[[Mapping[str, Any]], Mapping[Name, Installed]]


class OneBackend(Generic[Name, Installed]):
    """The ``Upstream`` of the story over one backend. ``read_tags`` understands ``/api/tags``; names are policy's."""

    def __init__(self, backend: HttpBackend, read_tags: ReadTags[Name, Installed], clock: Clock) -> None:
        self._backend = backend
        self._tags = Catalogue(lambda: backend.told("/api/tags"), read_tags, clock)
        self._loaded = Catalogue(lambda: backend.told("/api/ps"), context_lengths, clock)

    async def installed(self, name: Name | None) -> Mapping[Name, Installed]:
        return await self._tags.holding(name)

    def open(self, ask: Ask, upload: Upload | None) -> AbstractAsyncContextManager[HttpAnswer]:
        opened = self._backend.open(ask, upload, lambda: self._loaded.known.get(ask.spelling))
        return self._changing(opened) if ask.endpoint.risk is Risk.MANAGE else opened

    @asynccontextmanager
    async def _changing(self, opened: AbstractAsyncContextManager[HttpAnswer]) -> AsyncIterator[HttpAnswer]:
        """What is known may be so no longer once such a call has been answered."""
        async with opened as answer:
            self._tags.expire()  # Before the caller hears that it is done, and once more in case somebody looked.
            try:
                yield answer
            finally:
                self._tags.expire()

    @property
    def answers(self) -> bool | None:
        """Whether the backend did when it was asked last for its models; None where it never was."""
        return self._tags.answers

    async def version(self) -> str | None:
        """What the backend says it is; None where it does not answer."""
        try:
            return str((await self._backend.told("/api/version")).get("version", "unknown"))
        except BackendFailed:
            return None

    async def keep_fresh(self) -> None:
        """Refresh what is known, for ever."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._tags.keep_fresh())
            both.create_task(self._loaded.keep_fresh())


def context_lengths(told: Mapping[str, Any]) -> Mapping[str, int]:
    """How many tokens each loaded model holds, by the name that ``/api/ps`` gives it."""
    found: dict[str, int] = {}
    loaded = told.get("models")
    for model in loaded if isinstance(loaded, list) else []:
        name, length = (model.get("name"), model.get("context_length")) if isinstance(model, dict) else (None, None)
        if isinstance(name, str) and isinstance(length, int) and not isinstance(length, bool) and length > 0:
            found[name] = length
    return found
