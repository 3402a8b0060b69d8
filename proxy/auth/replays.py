"""Remembers which signed requests have come, so that none is taken twice. Nothing in this module does I/O.

Where nobody can tell whether one came before, it is not taken.
"""

import heapq
from collections import Counter
from typing import Literal, Protocol

from proxy.errors import AuthUnavailable, StoreFailed
from proxy.vocabulary import Clock

MOST_IN_ALL = 100_000
MOST_OF_EACH = 10_000
"""Of one identity: nobody fills the memory for all others."""

OnFailure = Literal["local", "refuse", "allow"]
"""What holds while the memory that gates share does not answer, as ``on_redis_failure`` has it."""


class Replays(Protocol):
    """What has come."""

    async def first(self, identity: str, what: bytes, seconds: float) -> bool:
        """Whether that is new from this identity, which is remembered for so many seconds and then forgotten.

        Of several who ask at once, one is told so. Raises AuthUnavailable where it cannot be told or remembered.
        """


class Shared(Protocol):
    """``Replays`` that several gates have in common."""

    async def first(self, identity: str, what: bytes, seconds: float) -> bool:
        """The same. Raises StoreFailed where it cannot be told."""


class MemoryReplays:
    """``Replays`` of this process alone, which forgets everything when it ends."""

    def __init__(self, clock: Clock, *, most: int = MOST_IN_ALL, most_of_each: int = MOST_OF_EACH) -> None:
        self._clock = clock
        self._most = most
        self._most_of_each = most_of_each
        self._came: set[tuple[str, bytes]] = set()
        self._of_each: Counter[str] = Counter()
        self._ends: list[tuple[float, tuple[str, bytes]]] = []
        """A heap: when each is forgotten."""
        self.counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._came)

    async def first(self, identity: str, what: bytes, seconds: float) -> bool:
        now = self._clock()
        self._forget(now)
        one = (identity, what)
        if one in self._came:
            return False
        if len(self._came) >= self._most or self._of_each[identity] >= self._most_of_each:
            self.counts["replays_full"] += 1
            raise AuthUnavailable
        self._came.add(one)
        self._of_each[identity] += 1
        heapq.heappush(self._ends, (now + seconds, one))
        return True

    def _forget(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, one = heapq.heappop(self._ends)
            self._came.remove(one)
            self._of_each[one[0]] -= 1
            if not self._of_each[one[0]]:
                del self._of_each[one[0]]


class SharedReplays:
    """``Replays`` of several gates. What this one knows already is not asked of the others."""

    def __init__(self, local: Replays, shared: Shared, on_failure: OnFailure) -> None:
        self._local = local
        self._shared = shared
        self._on_failure = on_failure
        self.counts: Counter[str] = Counter()

    async def first(self, identity: str, what: bytes, seconds: float) -> bool:
        if not await self._local.first(identity, what, seconds):
            return False
        try:
            return await self._shared.first(identity, what, seconds)
        except StoreFailed as error:
            self.counts[f"replays_degraded_{self._on_failure}"] += 1
            if self._on_failure == "refuse":
                raise AuthUnavailable from error
            return True  # Here it is new; another gate may have had it.
