"""Looks until something is there."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

T = TypeVar("T")


async def eventually(look: Callable[[], Awaitable[T | None]], seconds: float, awaited: str) -> T:
    """What the look finds, as soon as it finds something; a failure when the seconds are over."""
    over = time.monotonic() + seconds
    while (found := await look()) is None:
        if time.monotonic() > over:
            pytest.fail(f"After {seconds:g} seconds still nothing: {awaited}")
        await asyncio.sleep(0.001)  # The look alone may leave the loop no turn.
    return found
