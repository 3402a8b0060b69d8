"""Users and teams at the desk, with limits of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from proxy.admin.amounts import NO_LIMITS, checked
from proxy.admin.desk.clerk import Clerk
from proxy.admin.desk.entries import told_of
from proxy.admin.refusals import NotDone
from proxy.admin.rules import changed_details, name, team_name
from proxy.admin.subjects import OnRecord, unknown
from proxy.auth import Act, Key, Kind, Taken, Team, User
from proxy.vocabulary import Limits

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
        await self._add_user(made, "user.create", told_of(made))
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
        changed = self._rules.changes(told, user.limits, self._now())
        return await self._change_user(user, "update", changed, changed_details(told, changed))

    async def suspend_user(self, shown: str) -> User:
        """Nobody comes in under that name, whatever they prove it with. One that is not known yet is put on record."""
        wanted = name("user", shown)
        users = {user.name: user for user in await self.users()}
        user = users.get(wanted, User(wanted, self._now()))
        return user if user.suspended_at else await self._change_user(user, "suspend", {"suspended_at": self._now()})

    async def resume_user(self, shown: str) -> User:
        """One who is not suspended stays as they are."""
        user = _one("user", shown, await self.users())
        return await self._change_user(user, "resume", {"suspended_at": None}) if user.suspended_at else user

    async def create_team(self, team: str, note: str | None = None, limits: Limits = NO_LIMITS) -> Team:
        """Put a team on record."""
        made = Team(
            team_name(team),
            self._now(),
            note=None if note is None else name("note", note),
            limits=checked(limits),
        )
        await self._add_team(made, "team.create", told_of(made))
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
        changed = self._rules.changes(told, team.limits, self._now())
        return await self._change_team(team, "update", changed, changed_details(told, changed))

    async def suspend_team(self, shown: str) -> Team:
        """As ``suspend_user``, of every key and token that is of this team; what its users have besides goes on."""
        wanted = team_name(shown)
        teams = {team.name: team for team in await self.teams()}
        team = teams.get(wanted, Team(wanted, self._now()))
        return team if team.suspended_at else await self._change_team(team, "suspend", {"suspended_at": self._now()})

    async def resume_team(self, shown: str) -> Team:
        """One that is not suspended stays as it is."""
        team = _one("team", shown, await self.teams())
        return await self._change_team(team, "resume", {"suspended_at": None}) if team.suspended_at else team

    async def _change_user(
        self, user: User, verb: str, changed: Mapping[str, Any], details: Mapping[str, Any] | None = None
    ) -> User:
        act = self._act(f"user.{verb}", f"user:{user.name}", details)
        updated = await self._registry.update_user(user.name, changed, act)
        if updated is None:
            updated = replace(user, created_at=self._now(), **changed)
            await self._add_user(updated, "user.create", {}, act)
        return updated

    async def _add_user(self, user: User, name: str, details: Mapping[str, Any], *more: Act) -> None:
        try:
            await self._registry.add([self._act(name, f"user:{user.name}", details), *more], users=[user])
        except Taken:
            raise _taken("user") from None

    async def _change_team(
        self, team: Team, verb: str, changed: Mapping[str, Any], details: Mapping[str, Any] | None = None
    ) -> Team:
        act = self._act(f"team.{verb}", f"team:{team.name}", details)
        updated = await self._registry.update_team(team.name, changed, act)
        if updated is None:
            updated = replace(team, created_at=self._now(), **changed)
            await self._add_team(updated, "team.create", {}, act)
        return updated

    async def _add_team(self, team: Team, name: str, details: Mapping[str, Any], *more: Act) -> None:
        try:
            await self._registry.add([self._act(name, f"team:{team.name}", details), *more], teams=[team])
        except Taken:
            raise _taken("team") from None


def _one(what: str, shown: str, known: Sequence[Named]) -> Named:
    found = next((one for one in known if one.name == shown.strip()), None)
    if found is None:
        raise unknown(what, shown.strip())
    return found


def _members(team: str, record: OnRecord) -> tuple[str, ...]:
    """Everybody with a key in it, and everybody whose record says so."""
    by_key = {key.user for key in record.keys if key.team == team}
    return tuple(sorted(by_key | {user.name for user in record.users if user.team == team}))


def _taken(what: str) -> NotDone:
    return NotDone(f"There is a {what} of that name already: change it with {what}s update.")
