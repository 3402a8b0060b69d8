"""Between Redis and this process: what counts while Redis is in trouble.

The first decision that fails opens the circuit: from then on nobody waits for Redis, which is asked four times a second
whether it works again. Meanwhile each gate goes on with its share of every limit, refuses, or lets pass.
"""

import asyncio
import enum
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.late import late
from proxy.limits import Account, Claim, Cost, Decision, Moment, State, StoreFailed
from proxy.limits.accounts import most_at_once
from proxy.limits.memory import MemoryStore
from proxy.vocabulary import Clock, Limits

if TYPE_CHECKING:
    from proxy.limits.redis import store
else:
    store = late("proxy.limits.redis.store")

LOOK_SECONDS = 0.25
"""Between two looks whether Redis works again."""
PULSE_SECONDS = 5.0

Pause = Callable[[float], Awaitable[None]]


class OnFailure(enum.StrEnum):
    """What happens to calls while Redis cannot be asked."""

    LOCAL = "local"
    """Each gate goes on with its share of every limit."""
    REFUSE = "refuse"
    ALLOW = "allow"


class Guard:
    """A ``Store`` over Redis that always has an answer, and soon."""

    def __init__(
        self,
        shared: "store.RedisStore",
        local: MemoryStore,
        on_failure: OnFailure,
        *,
        replicas: int,
        clock: Clock,
        pause: Pause = asyncio.sleep,
    ) -> None:
        """``replicas`` is how many gates there are at the least; Redis tells of those that it has seen lately."""
        self._shared = shared
        self._local = local
        self.on_failure = on_failure
        self._replicas = replicas
        self._clock = clock
        self._pause = pause
        self._local_claims: dict[str, Claim] = {}
        self._failed_at: dict[str, Account] = {}
        """By its place, one account about which Redis could not be asked: in a cluster others may be well meanwhile."""
        self._since: float | None = None
        self._degraded = 0
        self._log = logging.getLogger("proxy.limits")
        self.counts: Counter[str] = Counter()

    @property
    def degraded_seconds(self) -> float | None:
        """For how long Redis has not been asked; None while it is."""
        return None if self._since is None else self._clock() - self._since

    async def reserve(self, claim: Claim) -> Decision:
        self.counts["decisions"] += 1
        if self._since is None:
            try:
                return await self._shared.reserve(claim)
            except StoreFailed as error:
                self._open(error, claim.accounts)
        self._degraded += 1
        self.counts[f"decisions_degraded_{self.on_failure}"] += 1
        match self.on_failure:
            case OnFailure.REFUSE:
                raise StoreFailed
            case OnFailure.ALLOW:
                return Decision(True, Moment(0, 0), replace(claim, accounts=()))
        mine = self._mine(claim)
        decision = await self._local.reserve(mine)
        if decision.admitted:
            self._local_claims[claim.id] = mine
        return decision

    def settle(self, claim: Claim, cost: Cost) -> None:
        if (mine := self._local_claims.pop(claim.id, None)) is not None:
            self._local.settle(mine, cost)
        else:
            self._shared.settle(claim, cost)

    async def look(self, accounts: Sequence[Account]) -> tuple[Moment, tuple[State, ...]]:
        if self._since is None:
            try:
                return await self._shared.look(accounts)
            except StoreFailed as error:
                self._open(error, accounts)
        if self.on_failure is not OnFailure.LOCAL:
            raise StoreFailed
        return await self._local.look(self._share(accounts))

    async def reset(self, accounts: Sequence[Account]) -> None:
        await self._local.reset(self._share(accounts))
        await self._shared.reset(accounts)

    def _mine(self, claim: Claim) -> Claim:
        """The claim on this gate's share. One that is larger than a share can be takes all of it, and owes the rest."""
        mine = self._share(claim.accounts)
        most = most_at_once(mine)
        tokens = claim.most_tokens if most is None else min(claim.most_tokens, most)
        return replace(claim, accounts=mine, most_tokens=tokens)

    def _share(self, accounts: Sequence[Account]) -> tuple[Account, ...]:
        """The same accounts with this gate's share of their limits."""
        return tuple(replace(account, limits=share(account.limits, self.gates)) for account in accounts)

    @property
    def gates(self) -> int:
        """How many gates share the limits, as far as is known."""
        return max(self._replicas, self._shared.gates)

    def _open(self, error: StoreFailed, asked: Sequence[Account] = ()) -> None:
        self._failed_at.update((account.place, account) for account in asked)
        if self._since is not None:
            return
        self._since, self._degraded = self._clock(), 0
        self._local.ask_again()
        self.counts["failures"] += 1
        why = type(error.__cause__).__name__ if error.__cause__ else "unknown"
        self._log.error("limits_degraded", extra={"mode": self.on_failure.value, "error": why})

    def _close(self) -> None:
        if self._since is None:
            return
        self._log.warning(
            "limits_restored",
            extra={"seconds": round(self._clock() - self._since, 3), "decisions": self._degraded},
        )
        self._since = None
        self._failed_at.clear()

    async def begin(self) -> None:
        """Ask Redis for the first time."""
        try:
            await self._shared.pulse()
        except StoreFailed as error:
            self._open(error)

    async def keep(self) -> None:
        """Look after Redis, for ever: whether it works, whether it works again, and the leases of calls under way."""
        renewed = pulsed = self._clock()
        while True:
            await self._pause(LOOK_SECONDS)
            now = self._clock()
            try:
                if self._since is not None or now - pulsed >= PULSE_SECONDS:
                    await self._shared.pulse()
                    pulsed = now
                if self._since is not None or now - renewed >= store.RENEWED_SECONDS:
                    await self._shared.renew()
                    renewed = now
                if self._shared.unsettled:
                    await self._shared.catch_up()
                if self._failed_at:
                    await self._shared.look(tuple(self._failed_at.values()))
                self._close()
            except StoreFailed as error:
                self._open(error)
            except Exception as error:  # noqa: BLE001  # A mistake of our own must not end the looking for ever.
                failure = StoreFailed()
                failure.__cause__ = error
                self._open(failure)


def share(limits: Limits, gates: int) -> Limits:
    """A part of the limits for one of so many gates; of a whole number never less than one."""
    return Limits(
        requests_per_minute=_part(limits.requests_per_minute, gates),
        request_burst=_part(limits.request_burst, gates),
        tokens_per_minute=_part(limits.tokens_per_minute, gates),
        token_burst=_part(limits.token_burst, gates),
        concurrent=_part(limits.concurrent, gates),
        tokens_per_day=_part(limits.tokens_per_day, gates),
        tokens_per_month=_part(limits.tokens_per_month, gates),
        gpu_seconds_per_day=None if limits.gpu_seconds_per_day is None else limits.gpu_seconds_per_day / gates,
    )


def _part(amount: int | None, gates: int) -> int | None:
    return None if amount is None else max(1, amount // gates)
