"""What is used, kept in this process: exact, and gone with it.

What a quota has seen of its day or month before is asked of the ledger once, so that a restart gives nobody a new day.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from proxy.limits import Account, Claim, Cost, Decision, Moment, State
from proxy.limits.kept import Kept
from proxy.limits.verdict import fits
from proxy.limits.windows import Window, calendar

Spent = Callable[[Account, Window], Awaitable[Cost]]
"""What an account has spent since the beginning of a window, by the ledger. Raises StorageFailed."""

IDLE = 3600 * 1_000_000
"""Microseconds after which an account that nobody has asked is looked at, and forgotten if nothing is used of it."""


class MemoryStore:
    """A ``Store``. Its leases end with the process, so that nobody has to renew them."""

    def __init__(self, clock: Callable[[], Moment], spent: Spent | None = None) -> None:
        self._clock = clock
        self._spent = spent
        self._kept: dict[tuple[str, str, str, str], Kept] = {}
        self._asking: dict[tuple[str, str, str, str], asyncio.Task[None]] = {}
        self._swept = clock().steady

    async def reserve(self, claim: Claim) -> Decision:
        await self._heard_of(claim.accounts)
        return self._decide(claim)

    def _decide(self, claim: Claim) -> Decision:
        moment = self._clock()
        self._sweep(moment)
        kept = [self._now(account, moment) for account in claim.accounts]
        states = tuple([one.state for one in kept])
        taking: list[tuple[Account, Kept]] = []
        for account, state, one in zip(claim.accounts, states, kept, strict=True):
            if fits(account, state, claim):
                taking.append((account, one))
            elif not account.shadow:
                return Decision(False, moment, claim, states)
        for account, one in taking:
            one.charge(account, claim)
        return Decision(True, moment, claim, states)

    def settle(self, claim: Claim, cost: Cost) -> None:
        moment = self._clock()
        for account in claim.accounts:
            self._now(account, moment).settle(claim.id, cost)

    async def look(self, accounts: Sequence[Account]) -> tuple[Moment, tuple[State, ...]]:
        await self._heard_of(accounts)
        moment = self._clock()
        return moment, tuple(self._now(account, moment).state for account in accounts)

    async def reset(self, accounts: Sequence[Account]) -> None:
        await self._heard_of(accounts)  # Else what the ledger tells later would undo it.
        moment = self._clock()
        for account in accounts:
            self._now(account, moment).reset()

    def ask_again(self) -> None:
        """What the ledger has told may be out of date: others have counted meanwhile."""
        for kept in self._kept.values():
            kept.heard = frozenset()

    @property
    def under_way(self) -> int:
        """Calls that hold something."""
        return len({claim for one in self._kept.values() for claim in one.leases})

    def _now(self, account: Account, moment: Moment) -> Kept:
        kept = self._kept.get(account.name)
        if kept is None:
            kept = self._kept[account.name] = Kept()
        kept.pass_time(account, moment)
        return kept

    async def _heard_of(self, accounts: Sequence[Account]) -> None:
        """What these had spent before this process began, where that counts for anything."""
        if self._spent is None:
            return
        for account in accounts:
            while account.quotas and not self._has_heard_of(account):
                await asyncio.shield(self._asked(account, self._spent))  # Others may wait for the same answer.

    def _has_heard_of(self, account: Account) -> bool:
        kept = self._kept.get(account.name)
        return kept is not None and account.quotas <= kept.heard

    def _asked(self, account: Account, spent: Spent) -> "asyncio.Task[None]":
        """The one question for all that want to hear of it."""
        name = account.name
        if (asking := self._asking.get(name)) is None:
            asking = self._asking[name] = asyncio.create_task(self._ask(account, spent))
        return asking

    async def _ask(self, account: Account, spent: Spent) -> None:
        today = calendar(account.time_zone, self._clock().wall)
        try:
            day, month = await spent(account, today.day), await spent(account, today.month)
        finally:
            del self._asking[account.name]  # Not later: who found a question that is over would ask it for ever.
        self._kept.setdefault(account.name, Kept()).hear(account.quotas, today, day, month)

    def _sweep(self, moment: Moment) -> None:
        """Forget those of whom nothing is used any more."""
        if moment.steady - self._swept < IDLE:
            return
        self._swept = moment.steady
        for name, kept in list(self._kept.items()):
            if kept.account is None or kept.leases or moment.steady - kept.seen < IDLE:
                continue
            kept.pass_time(kept.account, moment)
            if moment.wall >= kept.reset_until and not any(kept.state):
                del self._kept[name]
