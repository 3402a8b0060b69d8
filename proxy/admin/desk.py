"""What the owner can do: issue and revoke keys, read the ledger, see and reset limits. Prints nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from proxy.admin import reports
from proxy.admin.amounts import NO_LIMITS, checked, used_up
from proxy.admin.office import LimitsOffice, Status
from proxy.admin.refusals import NotDone
from proxy.admin.subjects import EVERYBODY, Subject, accounts_of, key_id, meant, unknown_key
from proxy.auth import Key, KeyStore
from proxy.ledger import Book, Running, Sum, Wanted
from proxy.limits import Account, Moment
from proxy.limits.verdict import Standing, standings
from proxy.vocabulary import Entry, Level, Limits, Now, Plan

Mint = Callable[[], tuple[str, str, bytes]]
"""Makes a key: its id, the whole key as it is shown once, and the digest that is kept."""

LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key, and the one time its text is known."""

    key: Key
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class View:
    """How some limits stood at one moment."""

    standings: tuple[Standing, ...]
    moment: Moment
    is_live: bool
    """False where the gate does not run, see ``Seen``."""


class Desk:
    def __init__(
        self,
        keys: KeyStore,
        book: Book,
        plans: Mapping[str, Plan],
        mint: Mint,
        now: Now,
        check_pattern: Callable[[str], str],
        office: LimitsOffice,
    ) -> None:
        """``check_pattern`` gives the canonical form of a model pattern or raises ValueError."""
        self._keys = keys
        self._book = book
        self._plans = plans
        self._mint = mint
        self._now = now
        self._check_pattern = check_pattern
        self._office = office

    async def create_key(
        self,
        user: str,
        team: str | None = None,
        plan: str = "default",
        models: tuple[str, ...] | None = None,
        lifetime: timedelta | None = None,
        note: str | None = None,
        limits: Limits = NO_LIMITS,
    ) -> Issued:
        """Issue a key. Raises ``NotDone`` where a name, the plan, a pattern, the lifetime or a limit will not do."""
        user = _name("user", user)
        team = None if team is None else _name("team", team)
        note = None if note is None else _name("note", note)
        if plan not in self._plans:
            raise NotDone(f"There is no plan {plan[:LONGEST_NAME]!r}. There are: {', '.join(sorted(self._plans))}.")
        if lifetime is not None and lifetime <= timedelta(0):
            raise NotDone("A key has to live longer than no time at all.")
        models = None if models is None else self._patterns(models)
        limits = checked(limits)
        now = self._now()
        new_id, secret, digest = self._mint()
        key = Key(
            id=new_id,
            user=user,
            team=team,
            plan=plan,
            models=models,
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
            note=note,
            limits=limits,
            digest=digest,
        )
        await self._keys.add(key)
        return Issued(key, secret)

    async def keys(self) -> list[Key]:
        """Every key, oldest first."""
        return await self._keys.all()

    async def key(self, shown: str) -> Key:
        """The key with this id; a whole key will do, of which only the id is looked at. Raises ``NoSuchKey``."""
        return _known(shown, await self._keys.find(key_id(shown)))

    async def update_key(self, shown: str, changes: Mapping[str, Any]) -> Key:
        """Change those of the key's own limits that are named; None takes one away. Raises ``NotDone``."""
        if not changes:
            raise NotDone("There is nothing to change: name a limit.")
        key = await self.key(shown)
        limits = checked(replace(key.limits, **changes))
        return _known(shown, await self._keys.update(key.id, limits))

    async def revoke(self, shown: str) -> Key:
        """From now on the key is refused. Raises ``NoSuchKey``."""
        return _known(shown, await self._keys.revoke(key_id(shown), self._now()))

    async def calls(self, last: int, user: str | None = None) -> list[Entry]:
        """The newest entries, oldest of them first."""
        return await self._book.last(last, user=user)

    async def follow(
        self, user: str | None, pause: Callable[[], Awaitable[None]], last: int = 0
    ) -> AsyncIterator[Entry]:
        """The newest entries and then every further one as it is written, for ever, with a pause between two looks."""
        # The mark comes first: an entry written between the two is then seen twice, and not never.
        mark = await self._book.mark()
        newest = await self._book.last(last, user=user) if last else []
        for entry in newest:
            yield entry
        seen = {entry.id for entry in newest}
        while True:
            entries, mark = await self._book.since(mark, user=user)
            for entry in entries:
                if entry.id not in seen:
                    yield entry
            if entries:
                seen = set()
            await pause()

    async def at(self, moment: datetime, user: str | None = None) -> tuple[list[Entry], list[Running]]:
        """What ran at that moment, see ``Book.at``. Raises NotDone where it has not come yet."""
        if moment > self._now():
            raise NotDone("That time has not come yet.")
        return await self._book.at(moment, user=user)

    async def running(self, user: str | None = None) -> list[Running]:
        """The calls that go on, by when they began."""
        _, running = await self._book.at(self._now(), user=user)
        return running

    async def usage(self, wanted: Wanted) -> list[Sum]:
        """What calls cost together, see ``Book.sums``; a whole key will do for its id.

        Raises NotDone where a group or the time zone is unknown, or the time ends before it begins.
        """
        return await self._book.sums(reports.checked(wanted))

    def export(self, since: datetime | None = None, until: datetime | None = None) -> AsyncIterator[Sequence[Entry]]:
        """Every entry of that time, page by page, see ``Book.all``. Raises NotDone where it ends before it begins."""
        reports.period(since, until)
        return self._book.all(since, until)

    async def limits(self, name: str | None = None, level: Level | None = None) -> View:
        """How all limits stand that hold for this key, user or team, or without a name for everybody together.

        Raises NotDone where nobody has the name or several have it, StoreFailed where nobody can tell.
        """
        keys = await self._keys.all()
        whose = EVERYBODY if name is None else meant(name, keys, level)
        accounts = accounts_of(whose, self._in_use(whose, keys), self._plans)
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
        keys = await self._keys.all()
        whose = EVERYBODY if name is None else meant(name, keys, level)
        accounts = [
            account
            for account in accounts_of(whose, keys, self._plans)
            if account.level is whose.level and used_up(account.limits)
        ]
        if not accounts:
            this = "everybody" if whose is EVERYBODY else f"this {whose.level}"
            raise NotDone(f"There is nothing to reset for {this}: no limit that is used up by calls.")
        await self._office.reset(accounts)
        return accounts

    async def limits_status(self) -> Status:
        """How the counting goes in the running gate. Raises NotDone where none runs."""
        return await self._office.status()

    def _in_use(self, whose: Subject, keys: Sequence[Key]) -> Sequence[Key]:
        """The keys without those that are refused anyway, unless it is them that somebody asks for."""
        live = [key for key in keys if key.state(self._now()) == "live"]
        return live if any(map(whose.holds, live)) else keys

    def _patterns(self, models: tuple[str, ...]) -> tuple[str, ...]:
        if not models:
            raise NotDone("A key that may use no model is of no use; leave the models out to allow all of the plan's.")
        canonical = []
        for pattern in models:
            try:
                canonical.append(self._check_pattern(pattern))
            except ValueError as error:
                raise NotDone(f"{pattern[:LONGEST_NAME]!r} is no pattern for models: {error}") from None
        return tuple(dict.fromkeys(canonical))


def _name(what: str, text: str) -> str:
    """Names end up in logs, tables and terminals, so nothing invisible may hide in them."""
    text = text.strip()
    if not text or len(text) > LONGEST_NAME or not text.isprintable():
        raise NotDone(f"The {what} has to be 1 to {LONGEST_NAME} characters that can be printed.")
    return text


def _known(shown: str, key: Key | None) -> Key:
    if key is None:
        raise unknown_key(key_id(shown))
    return key
