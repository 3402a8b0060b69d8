"""A stand-in that is up: where it answers, and how to end it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """Whoever started it stops it; nothing else keeps it in mind."""

    url: str
    stop: Callable[[], Awaitable[None]]
