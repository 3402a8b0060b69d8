"""The signals that tell a gate to stop."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

STOPPING = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Stop:
    """What the owner has asked for so far."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """To stop: by the first signal."""
    hastened: asyncio.Event = field(default_factory=asyncio.Event)
    """To wait for nobody, and still to write every line: by the second."""


@contextmanager
def heeding_signals() -> Iterator[Stop]:
    """What SIGTERM and SIGINT ask for in the block: to stop, then to hasten. The third one kills."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in STOPPING}

    def heed() -> None:
        if not stop.asked.is_set():
            stop.asked.set()
            return
        stop.hastened.set()
        for number in STOPPING:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)  # Python's own for SIGINT would run the rest of the program.

    for number in STOPPING:
        loop.add_signal_handler(number, heed)
    try:
        yield stop
    finally:
        for number in STOPPING:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])
