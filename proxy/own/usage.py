"""``GET /v1/usage``: what did the caller's own calls come to?"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from proxy.errors import NotUnderstood
from proxy.ledger import Book, Sum, Wanted
from proxy.own.bounded import Bounded
from proxy.vocabulary import Caller, Now, zone_named

GROUPS = ("model", "day", "hour", "endpoint", "outcome")
"""What a caller may sum by: all of it is one key's, so there are no others to tell apart."""
LONGEST = {"hour": timedelta(days=31), "day": timedelta(days=366)}
"""For how long a time usage may be summed by these: so no answer is longer than a gate can write between two calls."""
DIGITS = 9
"""Of what is no whole number. A call may cost a millionth."""

_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    rf"{_DATE.pattern}T[0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]{{1,6}})?)?(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})?"
)
_YEARS = range(1970, 9999)  # Beyond them not every zone can tell a moment.


@dataclass(frozen=True, slots=True)
class Period:
    """Which of the caller's calls, and how they are told apart."""

    since: datetime
    until: datetime | None
    """Not part of it; None: up to now."""
    by: tuple[str, ...]
    time_zone: str

    def wanted(self, key_id: str) -> Wanted:
        return Wanted(by=self.by, since=self.since, until=self.until, time_zone=self.time_zone, key=key_id)


class OwnUsage:
    """An ``Own``."""

    def __init__(self, book: Book, bounded: Bounded, now: Now, time_zone: str) -> None:
        """The zone is that of who tells none."""
        self._book = book
        self._bounded = bounded
        self._now = now
        self._time_zone = time_zone

    async def __call__(self, caller: Caller, query: Mapping[str, str]) -> bytes:
        period = asked(query, self._now(), self._time_zone)

        async def find() -> bytes:
            sums = await self._book.sums(period.wanted(caller.key_id))
            return json.dumps(told(caller, period, sums)).encode()

        return await self._bounded.answer(caller.key_id, (caller.user, caller.team, period), find)


def asked(query: Mapping[str, str], now: datetime, time_zone: str) -> Period:
    """What these parameters ask for; without any, all since the month began. Raises NotUnderstood."""
    zone = _zone(query["tz"]) if "tz" in query else ZoneInfo(time_zone)
    by = _groups(query["by"]) if "by" in query else ()
    until = _moment("until", query["until"], zone) if "until" in query else None
    since = _moment("since", query["since"], zone) if "since" in query else _month_of(now, zone)
    if until is not None and since >= until:
        hint = "" if "since" in query else " Without 'since' it begins with this month."
        raise NotUnderstood(f"That time ends before it begins.{hint}", param="until")
    # By the clocks of the zone: a month in which they are put back has 31 days too, and an hour more.
    lasts = (until or max(now, since)).astimezone(zone) - since.astimezone(zone)
    for group in by:
        longest = LONGEST.get(group)
        if longest is not None and lasts > longest:
            raise NotUnderstood(f"By {group} usage is told for at most {longest.days} days at once.", param="since")
    return Period(since, until, by, zone.key)


def told(caller: Caller, period: Period, sums: Iterable[Sum]) -> Mapping[str, Any]:
    sums = list(sums)
    return {
        "object": "usage",
        "key_id": caller.key_id,
        "user": caller.user,
        "team": caller.team,
        "since": _iso(period.since),
        "until": None if period.until is None else _iso(period.until),
        "time_zone": period.time_zone,
        "total": _amounts(_together(sums)),
        "data": [_row(period.by, one) for one in sums] if period.by else [],
    }


def _row(by: tuple[str, ...], one: Sum) -> Mapping[str, Any]:
    groups = {name: group or None for name, group in zip(by, one.groups, strict=True)}
    return {**groups, **_amounts(one)}


def _amounts(one: Sum) -> Mapping[str, Any]:
    return {
        "calls": one.calls,
        "refused": one.refused,
        "estimated": one.estimated,
        "suspicious": one.suspicious,
        "prompt_tokens": one.prompt_tokens,
        "completion_tokens": one.completion_tokens,
        "total_tokens": one.prompt_tokens + one.completion_tokens,
        "load_seconds": round(one.load_seconds, DIGITS),
        "gpu_seconds": round(one.gpu_seconds, DIGITS),
        "total_seconds": round(one.total_seconds, DIGITS),
        "cost": round(one.cost, DIGITS),
        "elsewhere": round(one.elsewhere, DIGITS),
        "watt_hours": round(one.watt_hours, DIGITS),
    }


def _together(sums: Iterable[Sum]) -> Sum:
    whole = Sum(())
    names = [one.name for one in fields(Sum) if one.name != "groups"]
    for one in sums:
        whole = replace(whole, **{name: getattr(whole, name) + getattr(one, name) for name in names})
    return whole


def _groups(text: str) -> tuple[str, ...]:
    names = text.split(",")
    if not set(names) <= set(GROUPS):
        raise NotUnderstood(f"Usage can be told by {', '.join(GROUPS)}, with commas between.", param="by")
    if len(set(names)) < len(names):
        raise NotUnderstood("The query names a group more than once.", param="by")
    return tuple(names)


def _zone(name: str) -> ZoneInfo:
    try:
        return zone_named(name)
    except ValueError:
        raise NotUnderstood(
            "'tz' should be a time zone that this gate knows, like Europe/Berlin.", param="tz"
        ) from None


def _month_of(now: datetime, zone: ZoneInfo) -> datetime:
    today = now.astimezone(zone)
    return datetime(today.year, today.month, 1, tzinfo=zone).astimezone(UTC)


def _moment(name: str, text: str, zone: ZoneInfo) -> datetime:
    """In UTC. A date is the first moment of that day, whichever hour the clocks show then."""
    is_day = bool(_DATE.fullmatch(text))
    if not is_day and not _TIME.fullmatch(text):
        raise NotUnderstood(
            f"'{name}' should be like 2026-11-01, 2026-11-01T14:00 or 2026-11-01T14:00+01:00.", param=name
        )
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise NotUnderstood(f"'{name}' is on no calendar.", param=name) from None
    if at.year not in _YEARS:
        raise NotUnderstood(f"'{name}' should be in a year from {_YEARS[0]} to {_YEARS[-1]}.", param=name)
    if at.tzinfo is not None:
        return at.astimezone(UTC)
    first, second = (at.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first != second and not is_day:
        raise NotUnderstood(
            f"The clocks of {zone.key} showed '{name}' twice or never: write it with its offset.", param=name
        )
    return first


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
