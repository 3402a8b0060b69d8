"""Tell the service manager how the gate stands: sd_notify(3), a datagram of text to a socket that it names.

Whatever cannot be told is not told: that the manager has gone deaf is no reason to refuse a call.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

NOTIFY_SOCKET = "NOTIFY_SOCKET"
WATCHDOG_USEC = "WATCHDOG_USEC"
WATCHDOG_PID = "WATCHDOG_PID"
MICROSECONDS = 1_000_000


class Manager:
    """Whoever has started the gate. ``address`` is where it listens: a path, a name after an ``@``, or None: nobody."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    def ready(self) -> None:
        """Calls are answered from now on."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """The gate was told to stop, and drains."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """The loop still turns."""
        self._tell("WATCHDOG=1")

    def _tell(self, state: str) -> None:
        if self._address is None:
            return
        # In Linux's abstract namespace a name begins with a zero byte, unix(7); sd_notify writes it as ``@``.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto(state.encode(), address)


def watchdog_seconds(environment: Mapping[str, str], pid: int) -> float | None:
    """After so many seconds without a word the manager holds this process for stuck; None where it does not watch it.

    As sd_watchdog_enabled(3) has it: ``WATCHDOG_PID`` says whom it watches, which without it is whoever reads this.
    """
    watched = environment.get(WATCHDOG_PID)
    said = environment.get(WATCHDOG_USEC, "")
    if (watched is not None and watched != str(pid)) or not (said.isascii() and said.isdigit()) or not int(said):
        return None
    return int(said) / MICROSECONDS


@asynccontextmanager
async def notifying(environment: Mapping[str, str], pid: int | None = None) -> AsyncIterator[Manager]:
    """The manager, who hears within the block that this process is alive, draining included.

    Half of its patience lies between two words, as sd_watchdog_enabled(3) advises.
    """
    manager = Manager(environment.get(NOTIFY_SOCKET) or None)
    patience = watchdog_seconds(environment, os.getpid() if pid is None else pid)
    if patience is None:
        yield manager
        return

    async def go_on() -> None:
        while True:
            manager.alive()
            await asyncio.sleep(patience / 2)

    going_on = asyncio.create_task(go_on())
    try:
        yield manager
    finally:
        going_on.cancel()
        await asyncio.wait([going_on])
