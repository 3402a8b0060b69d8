"""A registry that forgets."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

from proxy.auth import Act, Change, Denial, Holder, Key, Record, Taken, Team, User


class FakeRegistry:
    """A ``Registry`` in memory."""

    def __init__(self, *keys: Key, users: Sequence[User] = (), teams: Sequence[Team] = ()) -> None:
        self._keys = {key.id: in_utc(key) for key in keys}
        self._users = {user.name: in_utc(user) for user in users}
        self._teams = {team.name: in_utc(team) for team in teams}
        self._denials: dict[tuple[str, str, str], Denial] = {}
        self._acts: list[Act] = []

    async def find(self, key_id: str) -> Holder | None:
        key = self._keys.get(key_id)
        return None if key is None else Holder(key, self._users.get(key.user), self._teams.get(key.team or ""))

    async def belonging(self, user: str, team: str | None) -> tuple[User | None, Team | None]:
        its_user = self._users.get(user)
        if team is None and its_user is not None:
            team = its_user.team
        return its_user, None if team is None else self._teams.get(team)

    async def denials(self) -> list[Denial]:
        return sorted(self._denials.values(), key=lambda one: (one.at, one.issuer, one.claim, one.value))

    async def acts(self, after: int = 0, *, last: int | None = None) -> list[Act]:
        newer = [act for act in self._acts if act.number > after]
        return newer if last is None else newer[max(len(newer) - last, 0) :]

    async def newest_act(self) -> int:
        return len(self._acts)

    async def used(self, at: Mapping[tuple[str, bool], datetime]) -> None:
        for (key_id, is_former), moment in at.items():
            if (key := self._keys.get(key_id)) is not None:
                key = replace(key, last_used_at=later(key.last_used_at, moment))
                if is_former:
                    key = replace(key, former_used_at=later(key.former_used_at, moment))
                self._keys[key_id] = key

    async def keys(self) -> list[Key]:
        return sorted(self._keys.values(), key=lambda key: (key.created_at, key.id))

    async def users(self) -> list[User]:
        return sorted(self._users.values(), key=lambda user: user.name)

    async def teams(self) -> list[Team]:
        return sorted(self._teams.values(), key=lambda team: team.name)

    async def add(
        self,
        acts: Sequence[Act],
        *,
        keys: Sequence[Key] = (),
        users: Sequence[User] = (),
        teams: Sequence[Team] = (),
        after: int | None = None,
    ) -> None:
        if after not in (None, len(self._acts)):
            raise Taken
        refuse_taken(self._keys, [key.id for key in keys])
        refuse_taken(self._users, [user.name for user in users])
        refuse_taken(self._teams, [team.name for team in teams])
        done = self._numbered(*acts)
        self._keys |= {key.id: in_utc(key) for key in keys}
        self._users |= {user.name: in_utc(user) for user in users}
        self._teams |= {team.name: in_utc(team) for team in teams}
        self._acts += done

    async def update_key(self, key_id: str, change: Change[Key], act: Act) -> Key | None:
        return self._update(self._keys, key_id, change, act)

    async def update_user(self, name: str, change: Change[User], act: Act) -> User | None:
        return self._update(self._users, name, change, act)

    async def update_team(self, name: str, change: Change[Team], act: Act) -> Team | None:
        return self._update(self._teams, name, change, act)

    async def revoke(self, key_id: str, at: datetime, act: Act) -> Key | None:
        key = self._keys.get(key_id)
        if key is None or key.revoked_at is not None:
            return key
        return self._update(self._keys, key_id, lambda _: {"revoked_at": at}, act)

    async def rotate(self, key_id: str, old: bytes, new: bytes, until: datetime, act: Act) -> Key | None:
        key = self._keys.get(key_id)
        if key is None or key.revoked_at is not None or key.digest != old:
            return None
        secrets = {"digest": new, "former_digest": old, "former_until": until, "former_used_at": None}
        return self._update(self._keys, key_id, lambda _: secrets, act)

    async def deny(self, denial: Denial, act: Act) -> None:
        if (name := (denial.issuer, denial.claim, denial.value)) not in self._denials:
            self._acts += self._numbered(act)
            self._denials[name] = replace(denial, at=denial.at.astimezone(UTC))

    async def allow(self, issuer: str, claim: str, value: str, act: Act) -> bool:
        if (name := (issuer, claim, value)) not in self._denials:
            return False
        self._acts += self._numbered(act)
        del self._denials[name]
        return True

    async def record(self, act: Act) -> None:
        self._acts += self._numbered(act)

    def _update(self, there: dict[str, Record], name: str, change: Change[Record], act: Act) -> Record | None:
        if name not in there:
            return None
        before = there[name]
        changes = change(before)
        for changed in changes:
            if changed in {"id", "name"} or changed not in {one.name for one in fields(before)}:
                raise KeyError(changed)
        if changes:
            self._acts += self._numbered(act)
            there[name] = in_utc(replace(before, **changes))
        return there[name]

    def _numbered(self, *acts: Act) -> list[Act]:
        return [
            replace(act, at=act.at.astimezone(UTC), details=json.loads(json.dumps(dict(act.details))), number=number)
            for number, act in enumerate(acts, len(self._acts) + 1)
        ]


def refuse_taken(there: Mapping[str, object], names: Sequence[str]) -> None:
    if there.keys() & set(names) or len(set(names)) < len(names):
        raise Taken


def in_utc(noun: Record) -> Record:
    told: dict[str, Any] = {one.name: getattr(noun, one.name) for one in fields(noun)}
    times = {name: at.astimezone(UTC) for name, at in told.items() if isinstance(at, datetime)}
    return replace(noun, **{**told, **times})


def later(one: datetime | None, other: datetime) -> datetime:
    other = other.astimezone(UTC)
    return other if one is None else max(one, other)
