"""Keys, identities, users, teams and acts as commands show them: to other programs by names, to people in columns."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from proxy.admin.amounts import in_words, told_of
from proxy.admin.cli.paper import NONE, iso, say_table, when
from proxy.auth import Key, Team, User

HEADS_OF_KEYS = (
    "id", "user", "team", "plan", "models", "limits", "state", "created (UTC)", "expires (UTC)", "last used (UTC)",
    "note",
)  # fmt: skip
HEADS_OF_USERS = ("user", "team", "plan", "limits", "state", "created (UTC)", "note")
HEADS_OF_TEAMS = ("team", "limits", "state", "created (UTC)", "note")


def of_key(key: Key, now: datetime) -> Mapping[str, Any]:
    """Of an identity too, which is never rotated. Never a digest."""
    return {
        "id": key.id,
        "user": key.user,
        "team": key.team,
        "plan": key.plan,
        "models": None if key.models is None else list(key.models),
        "state": key.state(now),
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at),
        "suspended_at": iso(key.suspended_at),
        "revoked_at": iso(key.revoked_at),
        "last_used_at": iso(key.last_used_at),
        "note": key.note,
        "limits": told_of(key.limits),
    }


def of_rotation(key: Key, now: datetime) -> Mapping[str, Any]:
    """Until when the former secret works and when it was last used; None each where it works no more."""
    goes_on = key.former_until is not None and key.former_until > now
    return {
        "former_until": iso(key.former_until) if goes_on else None,
        "former_used_at": iso(key.former_used_at) if goes_on else None,
    }


def rotation_in_words(key: Key, now: datetime) -> str | None:
    """None where no rotation is under way."""
    if key.former_until is None or key.former_until <= now:
        return None
    used = "not used since" if key.former_used_at is None else f"last used {when(key.former_used_at)}"
    return f"the former secret works until {when(key.former_until)}, {used}"


def of_user(user: User) -> Mapping[str, Any]:
    return {
        "user": user.name,
        "team": user.team,
        "plan": user.plan,
        "state": _state(user),
        "created_at": iso(user.created_at),
        "suspended_at": iso(user.suspended_at),
        "note": user.note,
        "limits": told_of(user.limits),
    }


def of_team(team: Team) -> Mapping[str, Any]:
    return {
        "team": team.name,
        "state": _state(team),
        "created_at": iso(team.created_at),
        "suspended_at": iso(team.suspended_at),
        "note": team.note,
        "limits": told_of(team.limits),
    }


def row_of_key(key: Key, now: datetime) -> tuple[str, ...]:
    expires = "never" if key.expires_at is None else when(key.expires_at)
    used = "never" if key.last_used_at is None else when(key.last_used_at)
    models = "as the plan" if key.models is None else ", ".join(key.models)
    return (
        key.id, key.user, key.team or NONE, key.plan, models, in_words(key.limits) or "as the plan", key.state(now),
        when(key.created_at), expires, used, key.note or NONE,
    )  # fmt: skip


def row_of_user(user: User) -> tuple[str, ...]:
    return (
        user.name, user.team or NONE, user.plan or NONE, in_words(user.limits) or "as the plan", _state(user),
        when(user.created_at), user.note or NONE,
    )  # fmt: skip


def row_of_team(team: Team) -> tuple[str, ...]:
    return (
        team.name, in_words(team.limits) or "as the plan", _state(team), when(team.created_at), team.note or NONE,
    )  # fmt: skip


def say_facts(facts: Mapping[str, Any]) -> None:
    """Each on a line of its own."""
    say_table(("what", "value"), [(name.replace("_", " "), cell(value)) for name, value in facts.items()])


def cell(value: Any) -> str:
    if value is None or value == []:
        return NONE
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _state(record: User | Team) -> str:
    return "live" if record.suspended_at is None else "suspended"
