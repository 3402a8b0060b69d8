"""The end of a gate's life: no new calls, the running ones to their end or to a deadline, and every line kept."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from proxy.bootstrap.listening import Listening
from proxy.ledger.line import Ledger
from proxy.web.app import Server

CUT_SECONDS = 1.0
"""For a call that is cut to say so to its client, and to take what its backend has said already."""


class Draining:
    """How far it is. ``delay`` and ``patience`` are in seconds; ``hastened`` ends both."""

    def __init__(self, *, delay: float, patience: float, hastened: asyncio.Event | None = None) -> None:
        self._delay = delay
        self._patience = patience
        self._hastened = hastened or asyncio.Event()
        self.has_begun = False

    async def drain(self, listening: Listening, server: Server, ledger: Ledger) -> None:
        """Return once no call goes on and each has its line. Whoever asks whether the gate is ready is told first."""
        self.has_begun = True
        if self._delay:
            await self._unless_hastened(asyncio.sleep(self._delay))
        listening.close()
        server.pre_shutdown()  # Idle connections close, the others after the answer that is on them.
        await self._unless_hastened(ledger.idle(self._patience))
        ledger.stop()
        await ledger.idle(CUT_SECONDS)
        await server.shutdown(CUT_SECONDS)
        await ledger.idle(CUT_SECONDS)
        await ledger.settled()

    async def _unless_hastened(self, what: Coroutine[Any, Any, None]) -> None:
        waits = [asyncio.ensure_future(what), asyncio.ensure_future(self._hastened.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.wait(waits)
