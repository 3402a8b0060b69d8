"""Keeps the steps of calls in a journal."""

import asyncio
from collections import deque

from proxy.ledger.journal import Journal
from proxy.ledger.steps import Step, written
from proxy.vocabulary import Later

PATIENCE_SECONDS = 2.0
"""How long a call waits for a disk that says neither yes nor no; its line goes on waiting without it."""


class JournalKeeper:
    """A ``Keeper``."""

    def __init__(self, journal: Journal, *, patience: float = PATIENCE_SECONDS) -> None:
        self._journal = journal
        self._patience = patience
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        """Those who wait, each until when, in order; and some who have been answered."""
        self._alarm: asyncio.TimerHandle | None = None
        """One for all who wait: a timer for each costs more than all else that a step does."""

    @property
    def full(self) -> bool:
        return self._journal.full

    def note(self, step: Step) -> None:
        self._journal.note(written(step))

    def keep(self, step: Step) -> Later | None:
        answered = self._journal.keep(written(step))
        return None if answered is None else self._patience_for(answered)

    def _patience_for(self, answered: "asyncio.Future[None]") -> Later:
        """From now on, whenever it comes to be awaited."""
        loop = asyncio.get_running_loop()
        self._waiting.append((loop.time() + self._patience, answered))
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()
        if self._alarm is None:
            self._alarm = loop.call_later(self._patience, self._look)
        return _until(answered)

    def _look(self) -> None:
        """Let go of all who have waited for long enough."""
        loop = asyncio.get_running_loop()
        self._alarm = None
        now = loop.time()
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= now):
            _, answered = self._waiting.popleft()
            if not answered.done():
                answered.set_result(None)
        if self._waiting:
            self._alarm = loop.call_at(self._waiting[0][0], self._look)


async def _until(answered: "asyncio.Future[None]") -> None:
    await answered
