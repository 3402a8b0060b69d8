"""Waiting for somebody else, in which the time that this process was busy itself hardly counts.

Hundreds of calls that come at once keep the loop from hearing an answer that is there. With a plain timeout a burst of
calls would pass for a Redis that is away, and whoever sends it could choose when the limits are.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
