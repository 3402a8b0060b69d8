"""The signals that tell a gate to stop, and to read its configuration again."""

import asyncio
import signal
from collections.abc import Callable, Iterator
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


class Again:
    """The wish that the configuration be read again. One that comes too early waits until it can be met."""

    def __init__(self) -> None:
        self._reload: Callable[[], None] | None = None
        self._is_waiting = False

    def met_by(self, reload: Callable[[], None]) -> None:
        """From now on; what was wished before is done now."""
        self._reload = reload
        if self._is_waiting:
            reload()

    def wish(self) -> None:
        if self._reload is None:
            self._is_waiting = True
        else:
            self._reload()


@contextmanager
def heeding_hang_ups() -> Iterator[Again]:
    """What SIGHUP asks for in the block. Outside of it, it kills."""
    again, loop = Again(), asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGHUP)
    loop.add_signal_handler(signal.SIGHUP, again.wish)
    try:
        yield again
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, before)
