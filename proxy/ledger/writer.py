"""Entries committed in groups: whatever comes while one group is being written is the next."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from proxy.errors import StorageFailed
from proxy.ledger import Book
from proxy.vocabulary import Entry

LARGEST_GROUP = 500
PATIENCE_SECONDS = 2.0
"""How long a call waits for its line when the book cannot be written; the line goes on waiting without it."""

Pause = Callable[[float], Awaitable[None]]


class GroupWriter:
    """A ``Writer`` over a book. Start it with ``run``, end it with ``close``."""

    def __init__(self, book: Book, *, pause: Pause = asyncio.sleep, patience: float = PATIENCE_SECONDS) -> None:
        self._book = book
        self._pause = pause
        self._patience = patience
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._something = asyncio.Event()
        self._closing = False
        self._log = logging.getLogger("proxy.ledger")

    async def keep(self, entry: Entry) -> None:
        kept = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, kept))
        self._something.set()
        await asyncio.wait([kept], timeout=self._patience)

    async def run(self) -> None:
        """Write until closed. What cannot be written is tried again, in order, for as long as the gate runs."""
        delay = 0.0
        while self._waiting or not self._closing:
            if not self._waiting:
                self._something.clear()
                await self._something.wait()
                continue
            group = self._waiting[:LARGEST_GROUP]
            try:
                await self._book.write([entry for entry, _ in group])
            except StorageFailed as error:
                self._log.error("ledger_not_written", extra={"waiting": len(self._waiting), "error": error.why})
                if self._closing:
                    return
                delay = min(delay * 2 or 0.1, 5.0)
                await self._pause(delay)
                continue
            delay = 0.0
            del self._waiting[: len(group)]
            for _, kept in group:
                if not kept.done():
                    kept.set_result(None)

    def close(self) -> None:
        """Write what is waiting and come to an end."""
        self._closing = True
        self._something.set()

    @property
    def waiting(self) -> int:
        """Entries that are not written yet."""
        return len(self._waiting)
