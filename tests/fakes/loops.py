"""The event loops that a gate may run on."""

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def both() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """By the names under which tests run on each."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
