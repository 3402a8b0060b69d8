"""What calls cost together: sums by the quarter of an hour and by the day, kept as calls are written.

They are added up from the largest pieces that fit: what is asked of a year reads days, and calls for the minutes at its
ends only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, FromClause, case, delete, func, insert, literal, or_, select

from proxy.ledger import Sum, Wanted
from proxy.ledger.sql.rows import CALLS, Row
from proxy.ledger.sql.tables import COUNTED, GROUPED, MEASURED, calls, days, quarters
from proxy.ledger.sql.times import (
    Piece,
    Source,
    cut,
    day_of,
    ends,
    hour_of,
    next_day,
    quarter_of,
    written,
)
from proxy.vocabulary import Outcome

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.ext.asyncio import AsyncConnection

COLUMNS = {
    "user": "user",
    "team": "team",
    "key": "key_id",
    "model": "model",
    "endpoint": "endpoint",
    "outcome": "outcome",
}
"""Of the groups that are not times."""
AMOUNTS = (*COUNTED, *MEASURED)
_COUNTS = COUNTED.index("prompt_tokens")
"""How many of the amounts are counts of calls."""
_MODEL_AT = GROUPED.index("model")

_AT = CALLS.index("at")
_groups = itemgetter(*map(CALLS.index, GROUPED))
_measured = itemgetter(*map(CALLS.index, MEASURED))
_counted = itemgetter(
    *map(CALLS.index, ("outcome", "exact", "suspicious", "prompt_tokens", "completion_tokens", "gpu_seconds"))
)

Groups = tuple[str, ...]
Amounts = list[Any]
"""In the order of ``AMOUNTS``."""

_COST = or_(calls.c.prompt_tokens + calls.c.completion_tokens > 0, calls.c.gpu_seconds > 0)
_MODEL = case((_COST, calls.c.model))
"""The name by which a call is summed up. One that cost nothing has none: there it may be anybody's text, and no end of
such names would make no end of sums."""

_each = select(
    calls.c.at,
    *(func.coalesce(_MODEL if name == "model" else calls.c[name], "").label(name) for name in GROUPED),
    literal(1).label("calls"),
    case((calls.c.outcome == Outcome.REFUSED.value, 1), else_=0).label("refused"),
    case((calls.c.exact, 0), else_=1).label("estimated"),
    case((calls.c.suspicious, 1), else_=0).label("suspicious"),
    calls.c.prompt_tokens,
    calls.c.completion_tokens,
    *(func.coalesce(calls.c[name], 0.0).label(name) for name in MEASURED),
).subquery("each")
"""Calls in the shape of sums."""


def added(rows: Iterable[Row], zone: ZoneInfo) -> list[tuple[Table, list[Row]]]:
    """What these rows of ``calls`` add to the sums: rows of their tables, to which those that are there grow."""
    by_quarter = _together(rows)
    by_day: dict[Groups, Amounts] = {}
    day = cache(lambda quarter: day_of(quarter, zone))
    for (quarter, *groups), amounts in by_quarter.items():
        _add(by_day, (day(quarter), *groups), amounts)
    return [(quarters, _rows(by_quarter)), (days, _rows(by_day))]


def _rows(sums: Mapping[Groups, Amounts]) -> list[Row]:
    """In order: PostgreSQL lets no two who upsert wait for one another then."""
    return [(*groups, *map(int, amounts[:_COUNTS]), *amounts[_COUNTS:]) for groups, amounts in sorted(sums.items())]


async def sum_up_days(connection: AsyncConnection, zone: ZoneInfo) -> None:
    """Sum up all days anew, from the quarters."""
    await connection.execute(delete(days))
    grouped = [quarters.c[name] for name in GROUPED]
    async for day, within in _days_of_quarters(connection, zone, None, None):
        sums = select(literal(day), *grouped, *_sums_of(quarters)).where(*within).group_by(*grouped)
        await connection.execute(insert(days).from_select(["at", *GROUPED, *AMOUNTS], sums))


async def sums(connection: AsyncConnection, wanted: Wanted, book_zone: str) -> list[Sum]:
    """See ``Book``; the zone is that of the days that are summed up. To be asked within one snapshot."""
    told: dict[Groups, Amounts] = {}
    can_use_days = "hour" not in wanted.by and ("day" not in wanted.by or wanted.time_zone == book_zone)
    for piece in cut(wanted.since, wanted.until, ZoneInfo(book_zone) if can_use_days else None):
        async for groups, amounts in _of_piece(connection, wanted, piece, ZoneInfo(book_zone)):
            _add(told, groups, amounts)
    times = [index for index, name in enumerate(wanted.by) if name not in COLUMNS]
    found = [Sum(groups, *_numbers(amounts)) for groups, amounts in told.items()]
    return sorted(
        found,
        key=lambda one: (
            [one.groups[index] for index in times],
            -one.prompt_tokens - one.completion_tokens,
            one.groups,
        ),
    )


async def _of_piece(
    connection: AsyncConnection, wanted: Wanted, piece: Piece, book_zone: ZoneInfo
) -> AsyncIterator[tuple[Groups, Amounts]]:
    zone = ZoneInfo(wanted.time_zone)
    since, until = _told(piece.since), _told(piece.until)
    match piece.source:
        case Source.DAYS:
            whole = [None if end is None else day_of(quarter_of(end), book_zone) for end in (since, until)]
            within = _within(days, *whole)
            async for groups, at, amounts in _read(connection, wanted, days, within, with_times="day" in wanted.by):
                yield _named(wanted.by, groups, day=at), amounts
        case Source.QUARTERS:
            whole = [None if end is None else quarter_of(end) for end in (since, until)]
            async for found in _of_quarters(connection, wanted, zone, *whole):
                yield found
        case Source.CALLS:
            quarter = quarter_of(since or "")
            if await _are_some_gone(connection, quarter):
                async for found in _of_quarters(connection, wanted, zone, *map(quarter_of, ends(quarter))):
                    yield found
                return
            day, hour = day_of(quarter, zone), hour_of(quarter, zone)
            async for groups, _, amounts in _read(connection, wanted, _each, _within(_each, since, until)):
                yield _named(wanted.by, groups, day=day, hour=hour), amounts


def _told(moment: datetime | None) -> str | None:
    return None if moment is None else written(moment)


async def _of_quarters(
    connection: AsyncConnection, wanted: Wanted, zone: ZoneInfo, since: str | None, until: str | None
) -> AsyncIterator[tuple[Groups, Amounts]]:
    if "day" not in wanted.by and "hour" not in wanted.by:
        async for groups, _, amounts in _read(connection, wanted, quarters, _within(quarters, since, until)):
            yield groups, amounts
        return
    hour = cache(lambda quarter: hour_of(quarter, zone))
    with_times = "hour" in wanted.by
    async for day, of_day in _days_of_quarters(connection, zone, since, until):
        async for groups, at, amounts in _read(connection, wanted, quarters, of_day, with_times=with_times):
            yield _named(wanted.by, groups, day=day, hour=hour(at) if with_times else ""), amounts


async def _days_of_quarters(
    connection: AsyncConnection, zone: ZoneInfo, since: str | None, until: str | None
) -> AsyncIterator[tuple[str, list[ColumnElement[bool]]]]:
    """The days that have calls, each with what is true of its quarters: the database knows of no time zones."""
    while True:
        first_there = select(func.min(quarters.c.at)).where(*_within(quarters, since, until))
        if (first := (await connection.execute(first_there)).scalar_one()) is None:
            return
        since = next_day(first, zone)
        yield day_of(first, zone), _within(quarters, first, since if until is None else min(since, until))


async def _are_some_gone(connection: AsyncConnection, quarter: str) -> bool:
    """Whether there are fewer calls of this quarter than were summed up."""
    summed = select(func.coalesce(func.sum(quarters.c.calls), 0)).where(quarters.c.at == quarter)
    there = select(func.count()).select_from(calls).where(*_within(calls, *ends(quarter)))
    (row,) = (await connection.execute(select(summed.scalar_subquery(), there.scalar_subquery()))).all()
    return bool(row[1] < row[0])


async def _read(
    connection: AsyncConnection,
    wanted: Wanted,
    source: FromClause,
    within: Sequence[ColumnElement[bool]],
    *,
    with_times: bool = False,
) -> AsyncIterator[tuple[Groups, str, Amounts]]:
    """The sums by all groups that are no times, and by the source's own times if these are asked for."""
    grouped = [source.c[COLUMNS[name]] for name in wanted.by if name in COLUMNS]
    count = len(grouped)
    if with_times:
        grouped.append(source.c.at)
    asked = select(*grouped, *_sums_of(source)).where(*within, *_filters(source, wanted)).group_by(*grouped)
    for row in (await connection.execute(asked)).all():
        amounts = list(row[len(grouped) :])
        if amounts[0]:  # Without groups there is a row of nothing where there are no calls.
            yield tuple(row[:count]), row[count] if with_times else "", amounts


def _filters(source: FromClause, wanted: Wanted) -> list[ColumnElement[bool]]:
    asked = {"user": wanted.user, "team": wanted.team, "key": wanted.key, "model": wanted.model}
    return [source.c[COLUMNS[name]] == value for name, value in asked.items() if value is not None]


def _sums_of(source: FromClause) -> list[ColumnElement[Any]]:
    return [func.sum(source.c[name]).label(name) for name in AMOUNTS]


def _within(source: FromClause, since: str | None, until: str | None) -> list[ColumnElement[bool]]:
    return [
        *([] if since is None else [source.c.at >= since]),
        *([] if until is None else [source.c.at < until]),
    ]


def _named(by: tuple[str, ...], groups: Groups, **times: str) -> Groups:
    if len(groups) == len(by):
        return groups
    rest = iter(groups)
    return tuple(next(rest) if name in COLUMNS else times[name] for name in by)


def _numbers(amounts: Amounts) -> chain[Any]:
    """PostgreSQL tells the sum of large numbers as decimals."""
    return chain(map(int, amounts[: len(COUNTED)]), map(float, amounts[len(COUNTED) :]))


def _add(sums: dict[Groups, Amounts], groups: Groups, amounts: Amounts) -> None:
    there = sums.get(groups)
    sums[groups] = amounts if there is None else [one + other for one, other in zip(there, amounts, strict=True)]


def _together(rows: Iterable[Row]) -> dict[Groups, Amounts]:
    """The sums of rows of ``calls`` by their quarters and groups."""
    sums: dict[Groups, Amounts] = {}
    for row in rows:
        groups = [group or "" for group in _groups(row)]
        outcome, is_exact, is_suspicious, prompt_tokens, completion_tokens, gpu_seconds = _counted(row)
        if not (prompt_tokens or completion_tokens or gpu_seconds):
            groups[_MODEL_AT] = ""
        there = (quarter_of(row[_AT]), *groups)
        found = sums.get(there)
        if found is None:
            found = sums[there] = [0] * len(COUNTED) + [0.0] * len(MEASURED)
        found[0] += 1
        found[1] += outcome == Outcome.REFUSED.value
        found[2] += not is_exact
        found[3] += is_suspicious
        found[4] += prompt_tokens
        found[5] += completion_tokens
        for place, measured in enumerate(_measured(row), len(COUNTED)):
            if measured is not None:
                found[place] += measured
    return sums
