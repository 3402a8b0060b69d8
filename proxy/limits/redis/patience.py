"""Waiting for somebody else, in which the time that this process was busy itself hardly counts.

Hundreds of calls that come at once keep the loop from hearing an answer that is there. With a plain timeout a burst of
calls would pass for a Redis that is away, and whoever sends it could choose when the limits are.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

LOOKS = 10
"""Parts of the time. A loop that comes back late has used up one of them, however late it is."""


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """As ``asyncio.timeout``. Raises TimeoutError."""
    loop, left = asyncio.get_running_loop(), LOOKS
    next_look: list[asyncio.TimerHandle] = []

    def look() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            over.reschedule(loop.time())
        else:
            next_look[:] = [loop.call_later(seconds / LOOKS, look)]

    async with asyncio.timeout(None) as over:
        look()
        try:
            yield
        finally:
            next_look[0].cancel()


class Watch:
    """Gives up on answers that have not come: one timer for all, where there are too many for one each."""

    def __init__(self, seconds: float) -> None:
        self._between = seconds / LOOKS
        self._looks = 0
        self._awaited: deque[tuple[int, asyncio.Future[Any]]] = deque()
        """Each with the look at which it is given up; in order, since all have the same time."""
        self._next: asyncio.TimerHandle | None = None

    def over(self, answer: asyncio.Future[Any]) -> None:
        """From now on: a TimeoutError comes of it. One look is extra, for the first may be due at once."""
        self._awaited.append((self._looks + LOOKS + 1, answer))
        if self._next is None:
            self._next = asyncio.get_running_loop().call_later(self._between, self._look)

    def _look(self) -> None:
        self._looks += 1
        while self._awaited and (self._awaited[0][0] <= self._looks or self._awaited[0][1].done()):
            _, answer = self._awaited.popleft()
            if not answer.done():
                answer.set_exception(TimeoutError())
        self._next = asyncio.get_running_loop().call_later(self._between, self._look) if self._awaited else None
