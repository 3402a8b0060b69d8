"""Whom somebody means at the desk, and what their calls are counted on. Nothing in this module does I/O."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from proxy.admin.refusals import NoSuchKey, NotDone
from proxy.auth import Holder, Key, Team, User
from proxy.limits import Account
from proxy.limits.accounts import every
from proxy.vocabulary import Caller, Level, Limits, Plan, one_form

NO_LIMITS = Limits()
DEFAULT_PLAN = "default"
"""Of whom nobody has said another."""

_ID = re.compile(r"[A-Za-z0-9-]{1,24}")
_SUBJECT: Mapping[Level, Callable[[Key], str | None]] = {
    Level.KEY: lambda key: key.id,
    Level.USER: lambda key: key.user,
    Level.TEAM: lambda key: key.team,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose calls are meant."""

    level: Level
    name: str = ""

    def holds(self, key: Key) -> bool:
        """Whether the key's calls are among them."""
        return self.level is Level.EVERYBODY or _SUBJECT[self.level](key) == self.name


EVERYBODY = Subject(Level.EVERYBODY)


@dataclass(frozen=True, slots=True)
class OnRecord:
    """All that is on record, as far as limits go."""

    keys: Sequence[Key] = ()
    users: Sequence[User] = ()
    teams: Sequence[Team] = ()

    def names(self, whose: Subject) -> bool:
        """Whether there is such a key, user or team, be it only as what a key names."""
        records: Mapping[Level, Sequence[User | Team]] = {Level.USER: self.users, Level.TEAM: self.teams}
        on_record = any(one.name == whose.name for one in records.get(whose.level, ()))
        return on_record or any(map(whose.holds, self.keys))

    def known_users(self) -> list[User]:
        """By name: those on record, and those of whom there is only a key with their name."""
        bare = {key.user: User(key.user, key.created_at) for key in reversed(self.keys)}
        known = bare | {user.name: user for user in self.users}
        return [known[name] for name in sorted(known)]

    def known_teams(self) -> list[Team]:
        """As ``known_users``; a user's record may name one too."""
        bare = {user.team: Team(user.team, user.created_at) for user in self.users if user.team}
        bare |= {key.team: Team(key.team, key.created_at) for key in reversed(self.keys) if key.team}
        known = bare | {team.name: team for team in self.teams}
        return [known[name] for name in sorted(known)]


def meant(text: str, record: OnRecord, level: Level | None = None) -> Subject:
    """Who has that name: a key (a whole key will do), a user or a team. Raises NotDone where nobody or several have."""
    wanted = _SUBJECT if level is None else (level,)
    named = [Subject(one, key_id(text) if one is Level.KEY else one_form(text.strip())) for one in wanted]
    found = [subject for subject in named if record.names(subject)]
    match found:
        case [subject]:
            return subject
        case []:
            if level is Level.KEY:
                raise unknown_key(key_id(text))
            raise unknown("key, user or team" if level is None else level.value, text)
    levels = [subject.level.value for subject in found]
    ways = " or ".join(f"--{level}" for level in levels)
    raise NotDone(f"That is the name of a {' and of a '.join(levels)}: say which with {ways}.")


def accounts_of(whose: Subject, record: OnRecord, plans: Mapping[str, Plan]) -> tuple[Account, ...]:
    """Everything that their calls are counted on, the narrowest first. Raises NotDone where no plan lets them call.

    Of whom no key is on record only tokens can come, and those have accounts of their own that are not known here.
    """
    if whose.level is Level.EVERYBODY:
        callers = [Caller("", "", plan) for plan in plans.values()]
        found = {account for caller in callers for account in every(caller) if account.level is whose.level}
    else:
        found = set(_accounts(whose, record, plans))
    levels = list(Level)
    return tuple(sorted(found, key=lambda one: (levels.index(one.level), one.subject, one.models, repr(one))))


def _accounts(whose: Subject, record: OnRecord, plans: Mapping[str, Plan]) -> Iterator[Account]:
    with_key = list(_with_keys(whose, record, plans))
    without = list(_without_keys(whose, record, plans))
    if not with_key and not without:
        raise NotDone("Their plan is not configured any more, so that all of their calls are refused.")
    for caller in with_key:
        yield from every(caller)
    for caller in without:
        theirs = {Level.USER: caller.user, Level.TEAM: caller.team, Level.EVERYBODY: "everybody"}
        yield from (account for account in every(caller) if theirs.get(account.level))


def _with_keys(whose: Subject, record: OnRecord, plans: Mapping[str, Plan]) -> Iterator[Caller]:
    users = {user.name: user for user in record.users}
    teams = {team.name: team for team in record.teams}
    for key in record.keys:
        if whose.holds(key) and key.plan in plans:
            yield Holder(key, users.get(key.user), teams.get(key.team or "")).caller(plans[key.plan])


def _without_keys(whose: Subject, record: OnRecord, plans: Mapping[str, Plan]) -> Iterator[Caller]:
    """The user who is meant, or the users of the team, as far as they are on record and have no key at all.

    Of a team without anybody, the team alone.
    """
    teams = {team.name: team.limits for team in record.teams}
    keyed = {key.user for key in record.keys}
    members = [user for user in record.users if whose.name == (user.name, user.team)[whose.level is Level.TEAM]]
    for user in members if whose.level in (Level.USER, Level.TEAM) else ():
        plan = plans.get(user.plan or DEFAULT_PLAN)
        if user.name not in keyed and plan is not None:
            limits = teams.get(user.team or "", NO_LIMITS)
            yield Caller(user.name, "", plan, user.team, user_limits=user.limits, team_limits=limits)
    is_empty = whose.level is Level.TEAM and not members and not any(map(whose.holds, record.keys))
    if is_empty and DEFAULT_PLAN in plans:
        yield Caller("", "", plans[DEFAULT_PLAN], whose.name, team_limits=teams.get(whose.name, NO_LIMITS))


def key_id(text: str) -> str:
    """The id, of a whole key too."""
    prefix, _, rest = text.strip().partition("_")
    return rest.partition("_")[0] if prefix == "sk-lg" and rest else text.strip()


def unknown_key(key_id: str) -> NoSuchKey:
    # What does not look like an id could be a mangled key: it is not repeated.
    return NoSuchKey(f"There is no key {key_id}." if _ID.fullmatch(key_id) else None)


def unknown(what: str, text: str) -> NotDone:
    """As ``unknown_key``, of other names."""
    return NotDone(f"There is no {what} {text}." if _ID.fullmatch(text) else f"There is no such {what}.")
