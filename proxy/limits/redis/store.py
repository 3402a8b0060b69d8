"""What is used, kept in Redis: a ``Store`` that several gates share.

A claim says until when somebody waits for its answer, by Redis's clock, and is void afterwards: one that lay in a
buffer while Redis stood still spends nothing when it goes on. Whatever else may have happened to a claim that was
not answered is taken back once Redis can be reached again, which is safe since a lease can be ended once only.
"""

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache

from redis.exceptions import InvalidResponse

from proxy.limits import Account, Claim, Cost, Decision, Moment, State, StoreFailed
from proxy.limits.redis.link import Link, Script, is_wrong_type
from proxy.limits.redis.scripts import scripts
from proxy.limits.verdict import fits, gpu_ms, request_burst, token_burst
from proxy.limits.windows import calendar

SECOND = 1_000_000
VOID_AFTER = 2 * SECOND
"""Microseconds after which nobody can be waiting for a claim any more."""
LEASE = 60 * SECOND
"""Microseconds that a lease lasts unless it is renewed."""
RENEWED_SECONDS = 20.0
BELIEVED = 15 * SECOND
"""Microseconds for which a gate counts as one of those that share the limits, from its last pulse on."""
MOST_UNSETTLED = 10_000
"""Settlements that wait for Redis; the oldest is lost where there are more, and its call charged its estimate."""
MOST_RENEWED = 500
MOST_DELIVERED = 200
"""In one flight."""
TRIES = 3
ANSWERED = ("admitted", "refused", "seen")
"""The words after which each account's state is told."""


@dataclass(frozen=True, slots=True)
class _Settlement:
    claim: Claim
    cost: Cost
    withdrawn: bool
    """The call never was: its request goes back too."""
    not_before: int
    """Microseconds of this process's clock: before, the claim itself might still arrive after it."""


class RedisStore:
    """A ``Store``. ``steady`` is this process's clock in microseconds, by which it reckons Redis's."""

    def __init__(
        self,
        link: Link,
        steady: Callable[[], int],
        *,
        gate: str,
        cluster: bool = False,
        prefix: str = "llamagate",
        clock: str | None = None,
    ) -> None:
        """``gate`` tells this process from others; ``clock`` is Lua in place of Redis's own time, for tests."""
        self._link = link
        self._steady = steady
        self._gate = gate
        self._cluster = cluster
        self._prefix = prefix
        self._scripts = scripts(clock)
        self._ahead: int | None = None
        """Redis's clock less this process's, in microseconds."""
        self._held: dict[str, tuple[Account, ...]] = {}
        """The accounts that a call under way holds something of."""
        self._unsettled: dict[str, _Settlement] = {}
        self._settling: set[asyncio.Task[bool]] = set()
        self._none_renewed = asyncio.Event()
        """Set but while Redis is asked to go on with leases."""
        self._none_renewed.set()
        self.gates = 1
        """How many gates share the limits, as far as is known."""
        self.counts: Counter[str] = Counter()
        self._log = logging.getLogger("proxy.limits")

    @property
    def under_way(self) -> int:
        """Calls of this gate that hold something."""
        return len(self._held)

    @property
    def unsettled(self) -> int:
        return len(self._unsettled)

    async def reserve(self, claim: Claim) -> Decision:
        accounts: tuple[Account, ...] = ()
        states: tuple[State, ...] = ()
        moment, admitted = self._moment(), True
        try:
            for together in self._decided_together(claim.accounts):
                admitted, moment, told = await self._reserve(claim, together)
                accounts, states = accounts + together, states + told
                if not admitted:
                    break
        except (StoreFailed, asyncio.CancelledError):
            self._take_back(claim)
            raise
        if admitted:
            self._held[claim.id] = tuple(_took_part(claim, accounts, states, moment))
        elif len(accounts) > len(together):
            self._take_back(claim, heard=True)  # What other accounts had set aside already.
        asked = claim if accounts == claim.accounts else replace(claim, accounts=accounts)
        return Decision(admitted, moment, asked, states)

    async def _reserve(self, claim: Claim, accounts: Sequence[Account]) -> tuple[bool, Moment, tuple[State, ...]]:
        keys = list(self._keys(accounts))
        for _ in range(TRIES):
            now = self._now()
            said = f"{claim.id} {claim.most_tokens} {claim.least_tokens} {now + VOID_AFTER} {LEASE}"
            terms = (_terms(account, now) for account in accounts)
            try:
                told = await self._link.run(self._scripts.reserve, keys, [said, *terms])
            except StoreFailed as error:
                if not is_wrong_type(error):
                    raise
                await self._repair(keys)
                continue
            word, moment, states = self._heard(told, len(accounts))
            if word in ("admitted", "refused"):
                return word == "admitted", moment, states
        raise StoreFailed  # It has another idea of the time, each time.

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> bytes:
        """As ``Link.run``, and once more where something had to be repaired."""
        try:
            return await self._link.run(script, keys, arguments)
        except StoreFailed as error:
            if not is_wrong_type(error):
                raise
        await self._repair(keys)
        return await self._link.run(script, keys, arguments)

    async def _repair(self, keys: Sequence[str]) -> None:
        """Throw away what somebody else has written in our place, before which no script writes anything."""
        await self._link.run(self._scripts.repair, keys, [])
        self.counts["keys_repaired"] += 1
        self._log.warning("limits_repaired", extra={"keys": list(keys)})

    def settle(self, claim: Claim, cost: Cost) -> None:
        if self._held.pop(claim.id, None) is not None:
            self._settle(_Settlement(claim, cost, withdrawn=False, not_before=0))

    def _take_back(self, claim: Claim, *, heard: bool = False) -> None:
        """Whatever came of it: nobody is going to use it. One that was not answered may still be on its way."""
        not_before = 0 if heard else self._steady() + VOID_AFTER + SECOND
        self._settle(_Settlement(claim, Cost(), withdrawn=True, not_before=not_before))

    def _settle(self, settlement: _Settlement) -> None:
        self._unsettled[settlement.claim.id] = settlement
        if len(self._unsettled) > MOST_UNSETTLED:
            del self._unsettled[next(iter(self._unsettled))]
            self.counts["settlements_lost"] += 1
        if not settlement.not_before:
            task = asyncio.get_running_loop().create_task(self._deliver(settlement))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)

    async def _deliver(self, settlement: _Settlement) -> bool:
        claim, cost = settlement.claim, settlement.cost
        said: list[str | int] = [claim.id, cost.tokens, cost.gpu_ms, int(settlement.withdrawn)]
        together: tuple[Account, ...] = ()
        await self._none_renewed.wait()
        try:
            for together in self._decided_together(claim.accounts):
                rates = [_said(account.limits.tokens_per_minute) for account in together]
                await self._link.run(self._scripts.settle, list(self._keys(together)), [*said, *rates])
        except StoreFailed as error:
            self.counts["settlements_late"] += 1
            if is_wrong_type(error):  # What was charged has gone with the key.
                with suppress(StoreFailed):
                    await self._repair(list(self._keys(together)))
            return False  # It waits for the next pulse.
        self._unsettled.pop(claim.id, None)
        return True

    async def look(self, accounts: Sequence[Account]) -> tuple[Moment, tuple[State, ...]]:
        moment, found = self._moment(), dict.fromkeys(accounts, State())
        for together in self._decided_together(accounts):
            for _ in range(TRIES):
                terms = [_terms(account, self._now()) for account in together]
                told = await self._run(self._scripts.look, list(self._keys(together)), terms)
                word, moment, states = self._heard(told, len(together))
                if word == "seen":
                    found.update(zip(together, states, strict=True))
                    break
            else:
                raise StoreFailed
        return moment, tuple(found[account] for account in accounts)

    async def reset(self, accounts: Sequence[Account]) -> None:
        for together in self._decided_together(accounts):
            await self._link.run(self._scripts.reset, list(self._keys(together)), [])

    async def pulse(self) -> None:
        """Whether Redis does what it is asked; its clock and the number of gates are known then. Raises StoreFailed."""
        keys = [f"{self._prefix}:{{gates}}:{what}" for what in ("seen", "trial")]
        told = await self._link.run(self._scripts.pulse, keys, [self._gate, BELIEVED])
        word, now, gates = _read(told)
        if word != "beats" or len(gates) != 1:
            raise StoreFailed from _not_ours()
        self._ahead = now - self._steady()
        self.gates = max(1, gates[0])

    async def catch_up(self) -> None:
        """Settle what could not be settled before, as far as Redis answers."""
        now = self._steady()
        await self._deliver_all([one for one in self._unsettled.values() if one.not_before <= now])

    async def _deliver_all(self, settlements: Sequence[_Settlement]) -> None:
        """Side by side: one that cannot be delivered holds up no other. Whoever answers none is left alone."""
        for start in range(0, len(settlements), MOST_DELIVERED):
            if not any(await asyncio.gather(*map(self._deliver, settlements[start : start + MOST_DELIVERED]))):
                return

    async def renew(self) -> None:
        """Go on with the leases of every call under way. Raises StoreFailed.

        Between looking whether a call is under way and asking nothing is awaited, and its settlement waits for the
        answer, so that it never meets a lease that begins again: on the way it would overtake a script that Redis does
        not know yet.
        """
        leases = [(claim_id, account) for claim_id, accounts in self._held.items() for account in accounts]
        for place in {account.place for _, account in leases}:
            here = [(claim_id, account) for claim_id, account in leases if account.place == place]
            for start in range(0, len(here), MOST_RENEWED):
                some = [lease for lease in here[start : start + MOST_RENEWED] if lease[0] in self._held]
                if not some:
                    continue
                keys = list(self._keys([account for _, account in some]))
                self._none_renewed.clear()
                try:
                    await self._run(self._scripts.renew, keys, [LEASE, *(claim_id for claim_id, _ in some)])
                finally:
                    self._none_renewed.set()

    async def close(self) -> None:
        """What is being settled is settled, and what waits for it, as far as Redis answers."""
        while self._settling:
            await asyncio.wait(self._settling)
        # Nothing of ours can arrive after this any more, so nothing has to be waited for.
        await self._deliver_all(list(self._unsettled.values()))
        await self._link.close()

    def _decided_together(self, accounts: Sequence[Account]) -> Iterator[tuple[Account, ...]]:
        """One script can ask all of them, but in a cluster only those of one place: there everybody's come first."""
        if not self._cluster:
            yield tuple(accounts)
            return
        for place in sorted({account.place for account in accounts}):
            yield tuple(account for account in accounts if account.place == place)

    def _keys(self, accounts: Sequence[Account]) -> Iterator[str]:
        for account in accounts:
            yield from _names(self._prefix, account)

    def _heard(self, told: bytes, accounts: int) -> tuple[str, Moment, tuple[State, ...]]:
        word, now, used = _read(told)
        if len(used) != (accounts * len(State._fields) if word in ANSWERED else 0):
            raise StoreFailed from _not_ours()
        self._ahead = now - self._steady()
        states = tuple(State(*used[at : at + len(State._fields)]) for at in range(0, len(used), len(State._fields)))
        return word, Moment(now, now), states

    def _now(self) -> int:
        """Redis's time, as far as is known; the script says if that is wrong."""
        return self._steady() + (self._ahead or 0)

    def _moment(self) -> Moment:
        return Moment(self._now(), self._now())


def _read(told: bytes) -> tuple[str, int, list[int]]:
    """What became of it, Redis's time, and what else there is. Raises StoreFailed where no script of ours says so."""
    try:
        word, now, *more = told.decode("ascii").split()
        return word, int(now), list(map(int, more))
    except ValueError as error:
        raise StoreFailed from error


def _not_ours() -> Exception:
    return InvalidResponse("no script of ours answers so")


def _took_part(claim: Claim, accounts: Sequence[Account], states: Sequence[State], moment: Moment) -> Iterator[Account]:
    """All that admitted the claim, but those in shadow that would have refused it."""
    for account, state in zip(accounts, states, strict=True):
        if not account.shadow or fits(account, state, claim):
            yield account


@lru_cache(10_000)
def _names(prefix: str, account: Account) -> tuple[str, str]:
    """The account's hash, and its sorted set of leases."""
    name = f"{prefix}:{{{_digest(account.place)}}}:{account.level}:{_digest(account.subject)}"
    if account.models:
        name += f":{_digest(account.models)}"
    return f"{name}:b", f"{name}:h"


def _digest(name: str) -> str:
    """Names are anybody's text; none of it is to be seen in Redis, or to end the braces around a hash slot's tag."""
    return hashlib.blake2b(name.encode(), digest_size=9).hexdigest()


def _terms(account: Account, now: int) -> str:
    """An account's limits, and what day it is for it, as ``account.lua`` reads them."""
    today = calendar(account.time_zone, now)
    day, month = today.day, today.month
    return f"{_amounts(account)} {day.start} {day.end} {month.start} {month.end} {int(account.shadow)}"


@lru_cache(10_000)
def _amounts(account: Account) -> str:
    limits = account.limits
    amounts = (
        limits.requests_per_minute, request_burst(account), limits.tokens_per_minute, token_burst(account),
        limits.concurrent, limits.tokens_per_day, limits.tokens_per_month, gpu_ms(account),
    )  # fmt: skip
    return " ".join(map(_said, amounts))


def _said(amount: int | None) -> str:
    return "-1" if amount is None else str(amount)
