"""Forgets entries that are older than the owner wants to keep them, a few at a time."""

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

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
            while some := await book.forget(before, AT_ONCE):
                count += some
                await pause(BETWEEN_SECONDS)
        except StorageFailed as error:
            log.warning("retention_failed", extra={"error": error.why})
        if count:
            log.info("retention", extra={"forgotten": count, "before": before.isoformat()})
        await pause(LOOK_SECONDS)
