"""What will do: names, plans, patterns, lifetimes and limits as somebody tells them at the desk. No I/O."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from proxy.admin.amounts import NO_LIMITS, checked, told_of
from proxy.admin.refusals import NotDone
from proxy.admin.subjects import DEFAULT_PLAN
from proxy.auth import Key, Team, User
from proxy.vocabulary import Limits, one_form

LONGEST_NAME = 128
LIMIT_NAMES = tuple(field.name for field in fields(Limits))
NONE_WORD = "none"
"""Takes a team away at the command line, and therefore cannot be the name of one."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Whose a new key or identity is, and what it may do."""

    user: str
    team: str | None = None
    """None: that of the user's record."""
    plan: str | None = None
    """As the team, and ``default`` where that says nothing either."""
    models: tuple[str, ...] | None = None
    lifetime: timedelta | None = None
    note: str | None = None
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be otherwise of a record, whatever else of it somebody changes meanwhile."""

    fields: Mapping[str, Any]
    """With their new values, but for the limits."""
    own: Mapping[str, Any]
    """The limits among them, by their own names; None takes one away."""

    def of(self, record: Key | User | Team) -> dict[str, Any]:
        """Fields with their new values. Raises NotDone where its limits together would not do."""
        limits = {"limits": checked(replace(record.limits, **self.own))} if self.own else {}
        return {**self.fields, **limits}

    def details(self) -> dict[str, Any]:
        """For the audit trail: only what was told, with its new value; None for what is taken away."""
        return details({**self.fields, **self.own})


@dataclass(frozen=True, slots=True)
class Rules:
    """Every method raises NotDone, with what would be right."""

    plans: Collection[str]
    check_pattern: Callable[[str], str]
    """Gives the canonical form of a model pattern or raises ValueError."""

    def terms(self, told: Terms) -> Terms:
        """The same in canonical form."""
        return replace(
            told,
            user=name("user", told.user),
            team=None if told.team is None else team_name(told.team),
            plan=None if told.plan is None else self.plan(told.plan),
            models=None if told.models is None else self.patterns(told.models),
            lifetime=None if told.lifetime is None else lifetime(told.lifetime),
            note=None if told.note is None else name("note", told.note),
            limits=checked(told.limits),
        )

    def settled(self, terms: Terms, user: User | None) -> Terms:
        """With what the user's record says where nothing was told."""
        plan = terms.plan or (user.plan if user else None) or DEFAULT_PLAN
        return replace(terms, team=terms.team or (user.team if user else None), plan=self.plan(plan))

    def changes(self, told: Mapping[str, Any], now: datetime) -> Changes:
        """Of what was told by name; None takes one away. ``lifetime`` is from now on, and becomes ``expires_at``."""
        if not told:
            raise NotDone("There is nothing to change: say what.")
        own = {name: value for name, value in told.items() if name in LIMIT_NAMES}
        changed: dict[str, Any] = {}
        for field, value in told.items():
            match field, value:
                case "lifetime", _:
                    changed["expires_at"] = None if value is None else expiry(now, value)
                case (("team" | "plan" | "models" | "note"), None):
                    changed[field] = None
                case "team", _:
                    changed[field] = team_name(value)
                case "plan", _:
                    changed[field] = self.plan(value)
                case "models", _:
                    changed[field] = self.patterns(value)
                case "note", _:
                    changed[field] = name("note", value)
        return Changes(changed, own)

    def plan(self, told: str) -> str:
        if told not in self.plans:
            shown = told[:LONGEST_NAME]
            raise NotDone(f"There is no plan {shown!r}. There are: {', '.join(sorted(self.plans))}.")
        return told

    def patterns(self, models: tuple[str, ...]) -> tuple[str, ...]:
        if not models:
            raise NotDone("A key that may use no model is of no use; leave the models out to allow all of the plan's.")
        canonical = []
        for pattern in models:
            try:
                canonical.append(self.check_pattern(pattern))
            except ValueError as error:
                raise NotDone(f"{pattern[:LONGEST_NAME]!r} is no pattern for models: {error}") from None
        return tuple(dict.fromkeys(canonical))


def name(what: str, text: str) -> str:
    """Names end up in logs, tables and terminals, so nothing invisible may hide in them. Raises NotDone."""
    text = one_form(text.strip())
    if not text or len(text) > LONGEST_NAME or not text.isprintable():
        raise NotDone(f"The {what} has to be 1 to {LONGEST_NAME} characters that can be printed.")
    return text


def team_name(text: str) -> str:
    """As ``name``."""
    if text.strip() == NONE_WORD:
        raise NotDone(f"No team can be called {NONE_WORD}: that word takes a team away.")
    return name("team", text)


def lifetime(told: timedelta) -> timedelta:
    """Raises NotDone."""
    if told <= timedelta(0):
        raise NotDone("A key has to live longer than no time at all.")
    return told


def expiry(now: datetime, told: timedelta) -> datetime:
    """When it ends. Raises NotDone."""
    return now + lifetime(told)


def details(told: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a record for the audit trail, as plain JSON values; limits stand there by their own names."""
    plain: dict[str, Any] = {}
    for field, value in told.items():
        match value:
            case Limits():
                plain |= told_of(value)
            case datetime():
                plain[field] = value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            case tuple():
                plain[field] = list(value)
            case _:
                plain[field] = value
    return plain
