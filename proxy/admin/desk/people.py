"""Users and teams at the desk, with limits of their own."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from proxy.admin.amounts import NO_LIMITS, checked
from proxy.admin.desk.clerk import TRIES, Clerk
from proxy.admin.desk.entries import told_of
from proxy.admin.refusals import NotDone
from proxy.admin.rules import name, team_name
from proxy.admin.subjects import OnRecord, unknown
from proxy.auth import Act, Change, Key, Kind, Taken, Team, User
from proxy.vocabulary import Limits, one_form

Named = TypeVar("Named", User, Team)


@dataclass(frozen=True, slots=True)
class Person:
    """A user with all that they prove it with, tokens left out."""

    user: User
    keys: tuple[Key, ...] = ()
    identities: tuple[Key, ...] = ()
    certificates: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Party:
    """A team with its users: by what is on record of them, and by their keys."""

    team: Team
    users: tuple[str, ...] = ()


class People(Clerk):
    """Of whom there are only keys with their name, they are told and changed as if they were on record.

    Every method raises NotDone.
    """

    async def create_user(
        self,
        user: str,
        team: str | None = None,
        plan: str | None = None,
        note: str | None = None,
        limits: Limits = NO_LIMITS,
    ) -> User:
        """Put a user on record; what is said of team and plan holds for new keys, and for tokens that say nothing."""
        made = User(
            name("user", user),
            self._now(),
            team=None if team is None else team_name(team),
            plan=None if plan is None else self._rules.plan(plan),
            note=None if note is None else name("note", note),
            limits=checked(limits),
        )
        try:
            await self._registry.add([self._act("user.create", f"user:{made.name}", told_of(made))], users=[made])
        except Taken:
            raise _taken("user") from None
        return made

    async def users(self) -> list[User]:
        """By name."""
        return (await self._on_record()).known_users()

    async def user(self, shown: str) -> Person:
        record = await self._on_record()
        user = _one("user", shown, record.known_users())
        theirs = [key for key in record.keys if key.user == user.name]
        return Person(
            user,
            tuple(key for key in theirs if key.kind is Kind.API_KEY),
            tuple(key for key in theirs if key.kind is Kind.IDENTITY),
            tuple(key for key in theirs if key.kind is Kind.CERTIFICATE),
        )

    async def update_user(self, shown: str, told: Mapping[str, Any]) -> User:
        """Change what is told by name: team, plan, note, limits; None takes one away."""
        user = _one("user", shown, await self.users())
        changes = self._rules.changes(told, self._now())
        return await self._change_user(user, "update", changes.of, changes.details())

    async def suspend_user(self, shown: str) -> User:
        """Nobody comes in under that name, whatever they prove it with. One that is not known yet is put on record."""
        wanted = name("user", shown)
        users = {user.name: user for user in await self.users()}
        now = self._now()
        user = users.get(wanted, User(wanted, now))
        return await self._change_user(user, "suspend", lambda user: {} if user.suspended_at else {"suspended_at": now})

    async def resume_user(self, shown: str) -> User:
        """One who is not suspended stays as they are."""
        user = _one("user", shown, await self.users())
        return await self._change_user(user, "resume", lambda user: {"suspended_at": None} if user.suspended_at else {})

    async def create_team(self, team: str, note: str | None = None, limits: Limits = NO_LIMITS) -> Team:
        """Put a team on record."""
        made = Team(
            team_name(team),
            self._now(),
            note=None if note is None else name("note", note),
            limits=checked(limits),
        )
        try:
            await self._registry.add([self._act("team.create", f"team:{made.name}", told_of(made))], teams=[made])
        except Taken:
            raise _taken("team") from None
        return made

    async def teams(self) -> list[Team]:
        """By name."""
        return (await self._on_record()).known_teams()

    async def team(self, shown: str) -> Party:
        record = await self._on_record()
        team = _one("team", shown, record.known_teams())
        return Party(team, _members(team.name, record))

    async def update_team(self, shown: str, told: Mapping[str, Any]) -> Team:
        """Change what is told by name: note, limits; None takes one away."""
        team = _one("team", shown, await self.teams())
        changes = self._rules.changes(told, self._now())
        return await self._change_team(team, "update", changes.of, changes.details())

    async def suspend_team(self, shown: str) -> Team:
        """As ``suspend_user``, of every key and token that is of this team; what its users have besides goes on."""
        wanted = team_name(shown)
        teams = {team.name: team for team in await self.teams()}
        now = self._now()
        team = teams.get(wanted, Team(wanted, now))
        return await self._change_team(team, "suspend", lambda team: {} if team.suspended_at else {"suspended_at": now})

    async def resume_team(self, shown: str) -> Team:
        """One that is not suspended stays as it is."""
        team = _one("team", shown, await self.teams())
        return await self._change_team(team, "resume", lambda team: {"suspended_at": None} if team.suspended_at else {})

    async def _change_user(
        self, user: User, verb: str, change: Change[User], details: Mapping[str, Any] | None = None
    ) -> User:
        acts = self._acts("user", user, verb, details)
        put = partial(self._registry.add, acts)
        return await self._change(user, change, acts[1], self._registry.update_user, lambda made: put(users=[made]))

    async def _change_team(
        self, team: Team, verb: str, change: Change[Team], details: Mapping[str, Any] | None = None
    ) -> Team:
        acts = self._acts("team", team, verb, details)
        put = partial(self._registry.add, acts)
        return await self._change(team, change, acts[1], self._registry.update_team, lambda made: put(teams=[made]))

    def _acts(self, noun: str, one: User | Team, verb: str, details: Mapping[str, Any] | None) -> tuple[Act, Act]:
        """That they were put on record, and what was done to them."""
        subject = f"{noun}:{one.name}"
        return self._act(f"{noun}.create", subject), self._act(f"{noun}.{verb}", subject, details)

    async def _change(
        self,
        one: Named,
        change: Change[Named],
        act: Act,
        update: Callable[[str, Change[Named], Act], Awaitable[Named | None]],
        put: Callable[[Named], Awaitable[None]],
    ) -> Named:
        """As they are on record or, where they are not, as they are known."""
        for _ in range(TRIES):
            updated = await update(one.name, change, act)
            if updated is not None:
                return updated
            changed = change(one)
            if not changed:
                return one
            made = replace(one, created_at=self._now(), **changed)
            try:
                await put(made)
            except Taken:
                continue
            return made
        raise _taken(act.subject.partition(":")[0])


def _one(what: str, shown: str, known: Sequence[Named]) -> Named:
    shown = one_form(shown.strip())
    found = next((one for one in known if one.name == shown), None)
    if found is None:
        raise unknown(what, shown)
    return found


def _members(team: str, record: OnRecord) -> tuple[str, ...]:
    """Everybody with a key in it, and everybody whose record says so."""
    by_key = {key.user for key in record.keys if key.team == team}
    return tuple(sorted(by_key | {user.name for user in record.users if user.team == team}))


def _taken(what: str) -> NotDone:
    return NotDone(f"There is a {what} of that name already: change it with {what}s update.")
