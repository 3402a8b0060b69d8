"""What becomes of connections that come to no request, counted in full and told in the log now and then."""

import logging
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Final

QUIET_SECONDS: Final = 1.0
"""Between two lines in the log about the same."""


class Tally:
    """``steady`` is a clock in seconds."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self.counts: Counter[str] = Counter()
        self._steady = steady
        self._told: dict[str, tuple[float, int]] = {}
        self._log = logging.getLogger("proxy.web")

    def note(self, event: str, reason: StrEnum, **facts: object) -> None:
        """Count it by its reason. The line says how many there were since the last one about it."""
        self.counts[reason] += 1
        now, count = self._steady(), self.counts[reason]
        at, before = self._told.get(reason, (float("-inf"), 0))
        if now - at >= QUIET_SECONDS:
            self._told[reason] = (now, count)
            self._log.warning(event, extra={"reason": str(reason), "count": count - before, **facts})
