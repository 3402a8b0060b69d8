"""Where limits are counted, as the desk sees it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from proxy.limits import Account, Moment, State, Store


@dataclass(frozen=True, slots=True)
class Seen:
    """What was used of some accounts at one moment."""

    moment: Moment
    states: tuple[State, ...]
    is_live: bool = True
    """False where the gate does not run: days and months are told by the ledger, and of the rest nothing is used."""


@dataclass(frozen=True, slots=True)
class Status:
    """How the counting goes in one gate."""

    store: str
    """``in process`` or ``Redis``."""
    under_way: int
    """Calls that hold a place."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What is counted about counting, by name."""
    mode: str | None = None
    """What holds while the Redis is in trouble: ``local``, ``refuse``, ``allow``; None where there is no Redis."""
    degraded_since: datetime | None = None
    """Since when it is; None while all is well."""


class LimitsOffice(Protocol):
    """Knows what is used of every account."""

    async def look(self, accounts: Sequence[Account]) -> Seen:
        """How things stand, in the order of the accounts. Changes nothing. Raises StoreFailed or NotDone."""

    async def reset(self, accounts: Sequence[Account]) -> None:
        """Nothing is used any more, but by the calls that are under way. Raises StoreFailed or NotDone."""

    async def status(self) -> Status:
        """How the counting goes. Raises NotDone, as where the gate does not run."""


class StoreOffice:
    """A ``LimitsOffice`` over the store itself: in the gate, and wherever the store is shared."""

    def __init__(self, store: Store, status: Callable[[], Awaitable[Status]]) -> None:
        self._store = store
        self._status = status

    async def look(self, accounts: Sequence[Account]) -> Seen:
        return Seen(*await self._store.look(accounts))

    async def reset(self, accounts: Sequence[Account]) -> None:
        await self._store.reset(accounts)

    async def status(self) -> Status:
        return await self._status()
