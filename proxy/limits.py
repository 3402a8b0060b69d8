"""May they ask now?

The story asks for an ``Admission`` before the backend is asked and settles it afterwards with what the answer cost.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from proxy.vocabulary import Ask, Caller, Usage


class Admission(Protocol):
    """A call that was let in, and what was set aside for it."""

    def settle(self, usage: Usage) -> None:
        """What it really cost; called once, before the admission is left."""


class Unlimited:
    """Lets everybody in at once: for a box whose owner has set no limits."""

    @asynccontextmanager
    async def admit(self, caller: Caller, ask: Ask) -> AsyncIterator[Admission]:
        yield self

    def settle(self, usage: Usage) -> None:
        """Nothing was set aside."""
