"""Limits at the desk: how much is left, and beginning anew."""

from dataclasses import dataclass, replace

from proxy.admin.amounts import used_up
from proxy.admin.desk.clerk import Clerk
from proxy.admin.office import Status
from proxy.admin.refusals import NotDone
from proxy.admin.subjects import EVERYBODY, OnRecord, Subject, accounts_of, meant
from proxy.limits import Account, Moment
from proxy.limits.verdict import Standing, standings
from proxy.vocabulary import Level


@dataclass(frozen=True, slots=True)
class View:
    """How some limits stood at one moment."""

    standings: tuple[Standing, ...]
    moment: Moment
    is_live: bool
    """False where the gate does not run, see ``Seen``."""


class LimitsLeft(Clerk):
    async def limits(self, name: str | None = None, level: Level | None = None) -> View:
        """How all limits stand that hold for this key, user or team, or without a name for everybody together.

        Raises NotDone where nobody has the name or several have it, StoreFailed where nobody can tell.
        """
        record = await self._on_record()
        whose = EVERYBODY if name is None else meant(name, record, level)
        accounts = accounts_of(whose, self._in_use(whose, record), self._plans)
        seen = await self._office.look(accounts)
        told = [
            standing
            for account, state in zip(accounts, seen.states, strict=True)
            for standing in standings(account, state, seen.moment)
        ]
        return View(tuple(told), seen.moment, seen.is_live)

    async def reset_limits(self, name: str | None = None, level: Level | None = None) -> list[Account]:
        """Nothing is used any more of this key's, user's or team's own accounts, or without a name of everybody's.

        Tells which those are. Calls under way stay counted. Raises NotDone, also where there are none, and StoreFailed.
        """
        record = await self._on_record()
        whose = EVERYBODY if name is None else meant(name, record, level)
        accounts = [
            account
            for account in accounts_of(whose, record, self._plans)
            if account.level is whose.level and used_up(account.limits)
        ]
        if not accounts:
            this = "everybody" if whose is EVERYBODY else f"this {whose.level}"
            raise NotDone(f"There is nothing to reset for {this}: no limit that is used up by calls.")
        await self._office.reset(accounts)
        subject = f"{whose.level}:{whose.name}".rstrip(":")
        told = {"limits": sorted({name for account in accounts for name in used_up(account.limits)})}
        await self._registry.record(self._act("limits.reset", subject, told))
        return accounts

    async def limits_status(self) -> Status:
        """How the counting goes in the running gate. Raises NotDone where none runs."""
        return await self._office.status()

    def _in_use(self, whose: Subject, record: OnRecord) -> OnRecord:
        """Without the keys that are refused anyway, unless it is them that somebody asks for."""
        now = self._now()
        live = [key for key in record.keys if key.state(now) == "live"]
        return replace(record, keys=live) if any(map(whose.holds, live)) else record
