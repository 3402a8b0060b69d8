"""The signals that tell a gate to stop."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heeding_signals() -> Iterator[asyncio.Event]:
    """Set at the first SIGTERM or SIGINT; the second does what it always does, for who will not wait."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def heed() -> None:
        stop.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, heed)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
