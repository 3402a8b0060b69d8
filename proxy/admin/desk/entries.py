"""What goes on record with new keys and their like: they, whose they are, and the acts that say so. No I/O."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from proxy.admin.rules import Terms, details
from proxy.auth import Act, Key, Kind, Team, User

NOUNS: Mapping[Kind, str] = {Kind.API_KEY: "key", Kind.IDENTITY: "identity", Kind.CERTIFICATE: "certificate"}

Write = Callable[[str, str, Mapping[str, Any]], Act]
"""Makes an act of its name, its subject and its details."""

_SAID = ("user", "team", "plan", "models", "expires_at", "note", "limits")


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A key, an identity or a certificate that is to go on record."""

    id: str
    digest: bytes
    terms: Terms
    """In which nothing is left open but the team."""
    kind: Kind = Kind.API_KEY
    user: User | None = None
    """Their record, where they have none yet and more than the name is to stand there."""


@dataclass(frozen=True, slots=True)
class Entries:
    """All of it together."""

    acts: Sequence[Act]
    keys: Sequence[Key]
    users: Sequence[User]
    teams: Sequence[Team]


def entries(
    newcomers: Sequence[Newcomer], users: Collection[str], teams: Collection[str], now: datetime, write: Write
) -> Entries:
    """``users`` and ``teams`` are the names that are on record already; the others are put there, as names alone."""
    named = {one.terms.user: one.user or User(one.terms.user, now) for one in newcomers}
    new_users = [user for user in named.values() if user.name not in users]
    new_teams = {one.terms.team: Team(one.terms.team, now) for one in newcomers if one.terms.team}
    new_teams = {name: team for name, team in new_teams.items() if name not in teams}
    keys = [_key(one, now) for one in newcomers]
    acts = [write("team.create", f"team:{name}", {}) for name in new_teams]
    acts += [write("user.create", f"user:{user.name}", told_of(user)) for user in new_users]
    for key in keys:
        noun = NOUNS[key.kind]
        acts.append(write(f"{noun}.create", f"{noun}:{key.id}", told_of(key)))
    return Entries(acts, keys, new_users, list(new_teams.values()))


def _key(one: Newcomer, now: datetime) -> Key:
    terms = one.terms
    return Key(
        id=one.id,
        user=terms.user,
        plan=terms.plan or "",
        created_at=now,
        kind=one.kind,
        team=terms.team,
        models=terms.models,
        expires_at=None if terms.lifetime is None else now + terms.lifetime,
        note=terms.note,
        limits=terms.limits,
        digest=one.digest,
    )


def told_of(record: Key | User | Team) -> dict[str, Any]:
    """What was said of a new record, for its act: whatever is not empty, but what the act tells itself."""
    said = {field.name: getattr(record, field.name) for field in fields(record) if field.name in _SAID}
    return {name: value for name, value in details(said).items() if value is not None}
