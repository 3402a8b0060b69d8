"""Forgets entries that are older than the owner wants to keep them, a few at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

from proxy.errors import StorageFailed
from proxy.ledger import Book
from proxy.vocabulary import Now

LOOK_SECONDS = 3600.0
AT_ONCE = 1000
"""Entries that one transaction forgets, so that nobody waits for it long."""
BETWEEN_SECONDS = 0.2

Pause = Callable[[float], Awaitable[None]]


async def forgetting(book: Book, keep_seconds: float, now: Now, pause: Pause) -> None:
    """For ever. What cannot be forgotten now is tried again at the next look."""
    log = logging.getLogger("proxy.ledger")
    while True:
        before, count = now() - timedelta(seconds=keep_seconds), 0
        try:
            newest = await book.last(1)
            if newest and newest[0].at < before:
                log.warning("retention_waits", extra={"newest": newest[0].at.isoformat()})
                await pause(LOOK_SECONDS)  # Nothing new for so long: more likely the clock is wrong.
                continue
            while some := await _forgotten(book, before):
                count += some
                await pause(BETWEEN_SECONDS)
        except StorageFailed as error:
            log.warning("retention_failed", extra={"error": error.why})
        if count:
            log.info("retention", extra={"forgotten": count, "before": before.isoformat()})
        await pause(LOOK_SECONDS)


async def _forgotten(book: Book, before: datetime) -> int:
    """How many were. Once begun it comes to its end: for as long as anybody remembers where a transaction was cut off,
    SQLite takes nothing else, and the last lines of the ledger could not be written.
    """
    begun = asyncio.ensure_future(book.forget(before, AT_ONCE))
    try:
        return await asyncio.shield(begun)
    except asyncio.CancelledError:
        with suppress(StorageFailed):
            await begun
        raise
