"""What is on record, kept at hand: a look-up costs nothing until somebody changes it, and survives a lost database.

The acts of the owner are numbered without a gap, and looked for several times a second. While those looks succeed, what
is remembered is as new as the last of them: a change bites within ``FRESH_SECONDS`` plus the time of a look. While the
database cannot be reached, who is remembered goes on for as long as the owner allows.
"""

import asyncio
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from proxy.auth import Act, Denial, Holder, KeyStore, Team, User
from proxy.errors import StorageFailed
from proxy.vocabulary import Clock

LOOK_SECONDS = 0.25
"""Between two looks for acts."""
FRESH_SECONDS = 0.7
"""How long after a look, counted from its beginning, what is remembered is believed without asking again."""
PATIENCE_SECONDS = 1.0
"""For one look, or one look-up of what is remembered already."""
ANSWER_SECONDS = 3.0
"""For any look-up. A connection that is dead without a word would else keep it, and all who wait for it, for ever."""
MOST_AT_ONCE = 4
"""Look-ups: whoever shows many ids that nobody has must not keep the connections from the look for what has changed."""
TELL_SECONDS = 5.0
"""Between two times that the store is told when keys were used."""
MOST_KNOWN = 20_000
MOST_UNKNOWN = 10_000
"""Ids that nobody has, apart, so that strangers cannot push out who is known."""
MOST_ACTS = 1000
"""That are gone through at one look. After more, as an import makes them, nothing is remembered."""

Pause = Callable[[float], Awaitable[None]]
Belonging = tuple[User | None, Team | None]
Found = TypeVar("Found")
Name = TypeVar("Name")


class Remembered:
    """A ``KeyStore`` in front of which a gate remembers."""

    def __init__(self, store: KeyStore, *, clock: Clock, outage_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._outage = outage_seconds
        self._number = 0
        self._looked_at = -outage_seconds
        self._is_down = False
        self._was_late = False
        self._holders = _Shelf[str, Holder](MOST_KNOWN)
        self._nobody = _Shelf[str, None](MOST_UNKNOWN)
        self._belongings = _Shelf[tuple[str, str | None], Belonging](MOST_KNOWN)
        self._asking: dict[object, asyncio.Future[Any]] = {}
        self._few = asyncio.Semaphore(MOST_AT_ONCE)
        self._denied: set[tuple[str, str, str]] = set()
        self._denials_due = True
        self._used: dict[tuple[str, bool], datetime] = {}
        self.at_rest = asyncio.Lock()
        """Held during a look: who ends ``keep`` takes it, for a driver that is cut short leaves its connection open."""
        self._log = logging.getLogger("proxy.auth")

    async def begin(self) -> None:
        """Learn where the trail ends and what is denied. Raises StorageFailed."""
        looked_at = self._clock()
        self._number = await self._store.newest_act()
        await self._learn_denials()
        self._looked_at = looked_at

    async def holder(self, key_id: str) -> Holder | None:
        """What is on record with this id, and whose it is. Raises StorageFailed where nobody can tell."""
        if self._is_fresh:
            if (known := self._holders.get(key_id)) is not None:
                return known
            if key_id in self._nobody:
                return None
        elif self._may_go_on and (known := self._holders.get(key_id)) is not None:
            return known
        return await self._once(("key", key_id), lambda: self._find(key_id), self._holders.get(key_id))

    async def belonging(self, user: str, team: str | None) -> Belonging:
        """The user of that name and the team, see ``KeyStore``. Raises StorageFailed where nobody can tell."""
        known = self._belongings.get((user, team))
        if known is not None and (self._is_fresh or self._may_go_on):
            return known
        return await self._once(("user", user, team), lambda: self._find_belonging(user, team), known)

    def is_denied(self, issuer: str, *, jti: str | None, sub: str) -> bool:
        """Whether the owner has put the token or its subject on the list. Raises StorageFailed after a long outage."""
        if not (self._is_fresh or self._clock() - self._looked_at <= max(self._outage, FRESH_SECONDS)):
            raise StorageFailed
        return (issuer, "sub", sub) in self._denied or (jti is not None and (issuer, "jti", jti) in self._denied)

    def used(self, key_id: str, at: datetime, *, former: bool) -> None:
        """Somebody was let in with it."""
        self._used[key_id, former] = at

    @property
    def away_seconds(self) -> float | None:
        """For how long nothing was heard of what is on record; None while all is well."""
        return self._clock() - self._looked_at if self._is_down else None

    @property
    def _is_fresh(self) -> bool:
        return self._clock() - self._looked_at <= FRESH_SECONDS

    @property
    def _may_go_on(self) -> bool:
        """Whether the database is away, and was not for too long."""
        return self._is_down and self._clock() - self._looked_at <= self._outage

    async def _once(self, what: object, ask: Callable[[], Awaitable[Found]], known: Found | None) -> Found:
        """One look-up for all that want the same. Where it fails, what is known has to do, if it still may."""
        asking = self._asking.get(what)
        if asking is None:
            asking = self._asking[what] = asyncio.ensure_future(self._in_time(ask))
            asking.add_done_callback(lambda done: self._answered(what, done))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS if known is not None else None):
                # Others may wait for the same look-up when this call is given up.
                found: Found = await asyncio.shield(asking)
                return found
        except (StorageFailed, TimeoutError):
            if known is None or self._clock() - self._looked_at > self._outage:
                raise StorageFailed from None
            return known

    async def _in_time(self, ask: Callable[[], Awaitable[Found]]) -> Found:
        async with asyncio.timeout(ANSWER_SECONDS), self._few:
            return await ask()

    def _answered(self, what: object, done: "asyncio.Future[Any]") -> None:
        self._asking.pop(what, None)
        if not done.cancelled():
            done.exception()  # Whoever waited has heard it.

    async def _find(self, key_id: str) -> Holder | None:
        while True:
            number = self._number
            found = await self._store.find(key_id)
            if number == self._number:
                break  # Else somebody changed something meanwhile, and it may have been this.
        if found is None:
            self._nobody.put(key_id, None)
        else:
            self._holders.put(key_id, found)
        return found

    async def _find_belonging(self, user: str, team: str | None) -> Belonging:
        while True:
            number = self._number
            found = await self._store.belonging(user, team)
            if number == self._number:
                break
        self._belongings.put((user, team), found)
        return found

    async def keep(self, pause: Pause) -> None:
        """Look for acts, and tell what was used, for ever."""
        untold = 0.0
        while True:
            await pause(LOOK_SECONDS)
            async with self.at_rest:
                await self.look()
                untold += LOOK_SECONDS
                if untold >= TELL_SECONDS:
                    untold = 0.0
                    await self.tell()

    async def look(self) -> None:
        """Learn what was changed since the last look. Does not raise."""
        looked_at = self._clock()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._learn_acts(await self._store.newest_act())
                if self._denials_due:
                    await self._learn_denials()
        except StorageFailed:
            self._miss()
            return
        except TimeoutError:
            # Once may be ours: a loop that was busy with something else finds its time over as well.
            if self._was_late:
                self._miss()
            self._was_late = True
            return
        self._was_late = False
        if self._is_down:
            self._log.warning("records_back")
        self._is_down = False
        self._looked_at = looked_at

    def _miss(self) -> None:
        if not self._is_down:
            self._log.warning("records_away", extra={"outage_seconds": self._outage})
        self._is_down = True

    async def tell(self) -> None:
        """Put on record when keys were used. What cannot be told now is told the next time."""
        told, self._used = self._used, {}
        if not told:
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._store.used(told)
        except (StorageFailed, TimeoutError):
            self._used = {**told, **self._used}

    async def _learn_denials(self) -> None:
        self._denied = {_denied(one) for one in await self._store.denials()}
        self._denials_due = False

    async def _learn_acts(self, newest: int) -> None:
        if 0 <= newest - self._number <= MOST_ACTS:
            self._forget(await self._store.acts(self._number) if newest > self._number else ())
            return
        # Fewer than before are in another database, such as one from a backup: nothing there is as it was.
        self._number = newest
        self._denials_due = True
        for shelf in (self._holders, self._nobody, self._belongings):
            shelf.drop(lambda *_: True)

    def _forget(self, acts: Sequence[Act]) -> None:
        """Whatever an act was on is not remembered any more."""
        on = defaultdict[str, set[str]](set)
        for act in acts:
            self._number = act.number
            kind, _, name = act.subject.partition(":")
            on[kind].add(name)
        for name in on["key"] | on["identity"] | on["certificate"]:
            self._holders.pop(name)
            self._nobody.pop(name)
        if on["token"]:
            self._denials_due = True
        if (users := on["user"]) | (teams := on["team"]):
            self._holders.drop(lambda _, one: one.key.user in users or one.key.team in teams)
            self._belongings.drop(lambda of, one: of[0] in users or not teams.isdisjoint(_teams(of, one)))
        if any(act.name.endswith((".create", ".import")) for act in acts):
            # Along with a key its user and team may be on record now.
            self._belongings.drop(lambda _, one: None in one)


def _denied(one: Denial) -> tuple[str, str, str]:
    return one.issuer, one.claim, one.value


def _teams(of: tuple[str, str | None], one: Belonging) -> tuple[str | None, ...]:
    user, team = one
    return of[1], user.team if user else None, team.name if team else None


class _Shelf(Generic[Name, Found]):
    """So many things by their names; what was not asked for the longest makes room."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: OrderedDict[Name, Found] = OrderedDict()

    def __contains__(self, name: Name) -> bool:
        return name in self._things

    def get(self, name: Name) -> Found | None:
        thing = self._things.get(name)
        if thing is not None:
            self._things.move_to_end(name)
        return thing

    def put(self, name: Name, thing: Found) -> None:
        self._things.pop(name, None)
        if len(self._things) >= self._most:
            self._things.popitem(last=False)
        self._things[name] = thing

    def pop(self, name: Name) -> None:
        self._things.pop(name, None)

    def drop(self, is_meant: Callable[[Name, Found], bool]) -> None:
        for name in [name for name, thing in self._things.items() if is_meant(name, thing)]:
            del self._things[name]
