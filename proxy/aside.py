"""Much work, done in a thread, so that the calls of others go on meanwhile.

Python runs one thread at a time, but changes between them some hundred times a second: others then wait for
milliseconds, and not until all is done. What is small is done at once, for a thread costs more than that.
"""

import asyncio
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

LARGE: Final = 16 * 1024
"""Bytes that can be gone through in about a millisecond, whatever they are."""

Given = ParamSpec("Given")
Result = TypeVar("Result")


async def aside(size: int, work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
    """What the work gives, or raises; ``size`` is how many bytes it goes through. It must change nothing."""
    if size < LARGE:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
