"""What the backend has installed, as of lately, and what it holds in memory.

Refreshed in the background, and at once when an unknown name is asked for: a model that was pulled a moment ago is
there, and a caller who keeps asking for one that is not costs the backend one look a second and no more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import suppress
from typing import Any, Generic, TypeVar

from proxy.errors import BackendFailed
from proxy.vocabulary import Clock

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

REFRESH_SECONDS = 30.0
COOL_DOWN_SECONDS = 1.0

Fetch = Callable[[], Awaitable[Mapping[str, Any]]]
"""The backend's list as it says it. Raises BackendFailed."""


class Catalogue(Generic[Key, Value]):
    """A list of the backend's, read into a mapping that others only look at."""

    def __init__(self, fetch: Fetch, read: Callable[[Mapping[str, Any]], Mapping[Key, Value]], clock: Clock) -> None:
        self._fetch = fetch
        self._read = read
        self._clock = clock
        self._known: Mapping[Key, Value] | None = None
        self._expired = False
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self.answers: bool | None = None
        """Whether the backend did when it was asked last; None where it never was."""

    async def holding(self, key: Key | None) -> Mapping[Key, Value]:
        """All that is known, looked up anew if the key is not in it; without a key, only if it has expired.

        Raises BackendFailed while nothing is known.
        """
        missing = key is not None and (self._known is None or (key not in self._known and self._may_ask))
        if missing or self._expired:
            try:
                await self.refresh()
            except BackendFailed:
                if self._known is None:
                    raise
        return self._known or {}

    def expire(self) -> None:
        """What is known may be so no longer: the next who wants it waits for the backend."""
        self._expired = True

    @property
    def _may_ask(self) -> bool:
        """Whether it costs nothing more: an answer is on its way, or the last question is a while ago."""
        return self._asking is not None or self._clock() - self._asked_at >= COOL_DOWN_SECONDS

    @property
    def known(self) -> Mapping[Key, Value]:
        """What is known without asking."""
        return self._known or {}

    async def refresh(self) -> None:
        """Ask the backend; whoever wants the same meanwhile waits for the same answer. Raises BackendFailed."""
        if self._asking is None:
            self._asked_at = self._clock()
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._asked)
        await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        expired, self._expired = self._expired, False
        try:
            self._known = self._read(await self._fetch())
        except BackendFailed:
            self._expired = self._expired or expired
            raise

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking = None
        if not task.cancelled():
            self.answers = task.exception() is None  # Looked at, so that a failure nobody waits for is no warning.

    async def keep_fresh(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Refresh for ever; a backend that is down is asked again like any other."""
        while True:
            with suppress(BackendFailed):
                await self.refresh()
            await pause(REFRESH_SECONDS)
