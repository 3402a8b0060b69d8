"""How much work one caller's questions about itself may be.

They cost no request of any limit, for who has none left must be able to ask; so this is what bounds them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from proxy.errors import RateLimited
from proxy.vocabulary import Clock

FRESH_SECONDS = 1.0
"""How long the same question of the same key has the same answer."""
MOST_WAITING = 8
"""Calls of one key that are answered or wait for it; another one is told to come back."""
AT_ONCE = 2
"""Questions of all keys that are looked into at the same time."""
_AGAIN = 1_000_000
"""Microseconds."""


@dataclass(slots=True)
class _Asked:
    """What one key has asked of late."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    there: int = 0
    question: object = None
    answer: bytes | None = None
    """To the question; None where there is none yet."""
    found_at: float = 0.0


class Bounded:
    """Of each key one question is looked into at a time, and the last one's answer is remembered for a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: OrderedDict[str, _Asked] = OrderedDict()
        self._places = asyncio.Semaphore(AT_ONCE)

    async def answer(self, key_id: str, question: object, find: Callable[[], Awaitable[bytes]]) -> bytes:
        """What ``find`` finds, or has found to an equal question a moment ago.

        Raises RateLimited where too many calls of this key wait already, and what ``find`` does.
        """
        self._forget()
        asked = self._asked.setdefault(key_id, _Asked())
        self._asked.move_to_end(key_id)
        if asked.there >= MOST_WAITING:
            raise RateLimited(f"This key has {MOST_WAITING} such questions open already. Try again.", wait=_AGAIN)
        asked.there += 1
        try:
            async with asked.turn:
                if (known := self._known(asked, question)) is not None:
                    return known
                async with self._places:
                    found = await find()
                asked.question, asked.answer, asked.found_at = question, found, self._clock()
                return found
        finally:
            asked.there -= 1

    def _known(self, asked: _Asked, question: object) -> bytes | None:
        return asked.answer if asked.question == question and self._is_fresh(asked) else None

    def _is_fresh(self, asked: _Asked) -> bool:
        return asked.answer is not None and self._clock() - asked.found_at < FRESH_SECONDS

    def _forget(self) -> None:
        """Keys that asked longest ago, as far as their answers are of no use any more."""
        while self._asked:
            key_id, asked = next(iter(self._asked.items()))
            if asked.there or self._is_fresh(asked):
                return
            del self._asked[key_id]
