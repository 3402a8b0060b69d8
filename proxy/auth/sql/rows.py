"""Nouns as rows, and rows as nouns. No I/O."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Table

from proxy.auth import Act, Denial, Holder, Key, Kind, Team, User
from proxy.auth.sql.tables import keys, teams, users
from proxy.vocabulary import Limits

Noun = Key | User | Team | Denial
Row = Mapping[Any, Any]
"""By the names of the columns."""

_AMOUNTS = tuple(one.name for one in fields(Limits))
_NAMES = frozenset({"id", "name"})
"""What a noun is found by, and what never changes."""


def row_of(noun: Noun) -> dict[str, Any]:
    """All of it, as the database has it."""
    return _row({one.name: getattr(noun, one.name) for one in fields(noun)})


def changed(noun: type[Key | User | Team], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Some of its fields, as the database has them. Raises KeyError for what is none, or is its name."""
    known = {one.name for one in fields(noun)} - _NAMES
    for name in changes:
        if name not in known:
            raise KeyError(name)
    return _row(changes)


def _row(told: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in told.items():
        match value:
            case Limits():
                row |= asdict(value)
            case datetime():
                row[name] = written(value)
            case StrEnum():
                row[name] = value.value
            case tuple():
                row[name] = ",".join(value)
            case _:
                row[name] = value
    return row


def row_of_act(act: Act, number: int) -> dict[str, Any]:
    """An act with its number, as the database has it. Raises TypeError where its details are no plain JSON values."""
    return {
        "number": number,
        "at": written(act.at),
        "actor": act.actor,
        "origin": act.origin,
        "name": act.name,
        "subject": act.subject,
        "details": json.dumps(dict(act.details)),
    }


def key_of(row: Row) -> Key:
    """Of the columns of keys."""
    return Key(
        id=row["id"],
        kind=Kind(row["kind"]),
        digest=bytes(row["digest"]),
        user=row["user"],
        team=row["team"],
        plan=row["plan"],
        models=None if row["models"] is None else tuple(filter(None, row["models"].split(","))),
        note=row["note"],
        created_at=datetime.fromisoformat(row["created_at"]),
        expires_at=_time(row["expires_at"]),
        suspended_at=_time(row["suspended_at"]),
        revoked_at=_time(row["revoked_at"]),
        former_digest=None if row["former_digest"] is None else bytes(row["former_digest"]),
        former_until=_time(row["former_until"]),
        last_used_at=_time(row["last_used_at"]),
        former_used_at=_time(row["former_used_at"]),
        limits=_limits(row),
    )


def user_of(row: Row) -> User:
    """Of the columns of users."""
    return User(
        name=row["name"],
        created_at=datetime.fromisoformat(row["created_at"]),
        team=row["team"],
        plan=row["plan"],
        note=row["note"],
        suspended_at=_time(row["suspended_at"]),
        limits=_limits(row),
    )


def team_of(row: Row) -> Team:
    """Of the columns of teams."""
    return Team(
        name=row["name"],
        created_at=datetime.fromisoformat(row["created_at"]),
        note=row["note"],
        suspended_at=_time(row["suspended_at"]),
        limits=_limits(row),
    )


def denial_of(row: Row) -> Denial:
    """Of the columns of denials."""
    return Denial(row["issuer"], row["claim"], row["value"], datetime.fromisoformat(row["at"]), row["note"])


def act_of(row: Row) -> Act:
    """Of the columns of acts."""
    return Act(
        at=datetime.fromisoformat(row["at"]),
        actor=row["actor"],
        origin=row["origin"],
        name=row["name"],
        subject=row["subject"],
        details=json.loads(row["details"]),
        number=row["number"],
    )


def holder_of(row: Sequence[Any]) -> Holder:
    """Of the columns of keys, users and teams, one after the other."""
    key, user, team = _parts(row, keys, users, teams)
    return Holder(key_of(key), *_whose(user, team))


def whose(row: Sequence[Any]) -> tuple[User | None, Team | None]:
    """Of the columns of users and teams, one after the other."""
    return _whose(*_parts(row, users, teams))


def _parts(row: Sequence[Any], *tables: Table) -> Iterator[Row]:
    start = 0
    for table in tables:
        names = table.c.keys()
        yield dict(zip(names, row[start : start + len(names)], strict=True))
        start += len(names)


def _whose(user: Row, team: Row) -> tuple[User | None, Team | None]:
    """None where an outer join has found none."""
    return None if user["name"] is None else user_of(user), None if team["name"] is None else team_of(team)


def written(time: datetime) -> str:
    """A time, which needs a time zone, as the database has it."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _limits(row: Row) -> Limits:
    return Limits(**{name: row[name] for name in _AMOUNTS})
