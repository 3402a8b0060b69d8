"""How is it found out?

One file for each subject asks, within a few seconds, and gives facts; a failure is a fact too. ``machine`` and
``files`` look at what is here, ``http`` is the small client of the rest, ``everything`` runs all of it together.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

PATIENCE_SECONDS = 4.0
"""For one look, whatever it has to wait for."""

Found = TypeVar("Found")


async def within(seconds: float, look: Awaitable[Found], instead: Callable[[str], Found]) -> Found:
    """What comes of the look, or what is known where it takes too long or the network fails, told why."""
    try:
        async with asyncio.timeout(seconds):
            return await look
    except TimeoutError:
        return instead(f"it took longer than {seconds:g} s")
    except (OSError, EOFError) as error:
        return instead(told(error))


def told(error: BaseException) -> str:
    """Why, in a few words that name no secret: the system's own where it has any."""
    reason = getattr(error, "strerror", None)
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, EOFError):
        return "it hung up"
    return str(reason).lower() if reason else type(error).__name__
