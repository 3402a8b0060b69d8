"""Writes entries into SQLite or PostgreSQL, and finds them there.

One at a time writes, on PostgreSQL too: so nobody adds an entry to the sums twice, and entries become visible in the
order of their numbers, for those who follow them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, Table, and_, delete, func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from proxy.errors import StorageFailed
from proxy.ledger import Mark, Part, Running, Spent, Sum, Wanted
from proxy.ledger.sql.one_hop import OneHop
from proxy.ledger.sql.rows import Row, entry_of, running_of
from proxy.ledger.sql.sums import sum_up_days, sums
from proxy.ledger.sql.tables import about, calls, journals, running
from proxy.ledger.sql.times import written
from proxy.ledger.sql.writing import writing
from proxy.vocabulary import Entry, Level

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

PAGE = 1000
"""Entries that are read at once, where all are."""
LONGEST = timedelta(hours=24)
"""How far back a call may have begun that is found by a moment in it."""

_BEGIN_READING = {"sqlite": "BEGIN", "postgresql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"}
_TIME_ZONE = about.c.name == "time_zone"


class SqlBook:
    """A ``Book``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._file = OneHop(engine) if engine.dialect.name == "sqlite" else None

    async def write(self, entries: Sequence[Entry], part: Part | None = None) -> None:
        if not entries and part is None:
            return
        asked = writing(self._engine.dialect, entries, part)
        with _failing():
            if self._file is not None:
                await self._file.do(asked)
                return
            async with self._engine.begin() as connection:
                found: Sequence[Row] | None = None
                with suppress(StopIteration):
                    while True:
                        text, values = asked.send(found)  # type: ignore[arg-type]  # Nothing, to begin with.
                        result = await connection.exec_driver_sql(text, values or None)
                        found = [tuple(row) for row in result] if result.returns_rows else ()

    async def begun(self, journal: str) -> tuple[Mark, list[Running]]:
        async with self._reading() as connection:
            marks = await connection.execute(
                select(journals.c.segment, journals.c.offset).where(journals.c.journal == journal)
            )
            mark = next((Mark(*row) for row in marks), Mark())
            there = select(running).where(running.c.journal == journal).order_by(running.c.at, running.c.id)
            return mark, [running_of(row) for row in (await connection.execute(there)).mappings()]

    async def last(self, count: int, *, user: str | None = None) -> list[Entry]:
        newest = select(calls).order_by(calls.c.seq.desc()).limit(count)
        return [entry for _, entry in reversed(await self._entries(_of_user(newest, calls, user)))]

    async def since(self, mark: int, *, user: str | None = None) -> tuple[list[Entry], int]:
        newer = select(calls).where(calls.c.seq > mark).order_by(calls.c.seq)
        found = await self._entries(_of_user(newer, calls, user))
        return [entry for _, entry in found], found[-1][0] if found else mark

    async def mark(self) -> int:
        async with self._reading() as connection:
            return int((await connection.execute(_NEWEST)).scalar_one())

    async def at(self, moment: datetime, *, user: str | None = None) -> tuple[list[Entry], list[Running]]:
        ended = select(calls).where(_may_run_at(moment)).order_by(calls.c.at, calls.c.seq)
        going_on = select(running).where(running.c.at <= written(moment)).order_by(running.c.at, running.c.id)
        async with self._reading() as connection:
            entries = map(entry_of, (await connection.execute(_of_user(ended, calls, user))).mappings())
            there = (await connection.execute(_of_user(going_on, running, user))).mappings()
            return [one for one in entries if moment < _end(one)], [running_of(row) for row in there]

    async def all(self, since: datetime | None, until: datetime | None) -> AsyncIterator[Sequence[Entry]]:
        mark, last = await self._ends(since, until)
        # Not by an index, which would have to be sorted again for every page.
        wanted = select(calls).where(*_within(calls.c.at.concat(""), since, until)).order_by(calls.c.seq).limit(PAGE)
        while page := await self._entries(wanted.where(calls.c.seq > mark, calls.c.seq <= last)):
            mark = page[-1][0]
            yield [entry for _, entry in page]

    async def _ends(self, since: datetime | None, until: datetime | None) -> tuple[int, int]:
        """The numbers between which all entries of a time are; not the first of them."""
        within = _within(calls.c.at, since, until)
        ends = [select(end(calls.c.seq)).where(*within).scalar_subquery() for end in (func.min, func.max)]
        async with self._reading() as connection:
            first, last = (await connection.execute(select(*ends))).one()
            return (0, 0) if first is None else (first - 1, last)

    async def sums(self, wanted: Wanted) -> list[Sum]:
        async with self._reading() as connection:
            zone = (await connection.execute(select(about.c.value).where(_TIME_ZONE))).scalar_one()
            return await sums(connection, wanted, zone)

    async def spent(
        self, level: Level, subject: str, since: datetime, *, team: str | None = None
    ) -> Mapping[str | None, Spent]:
        if not subject and level is not Level.EVERYBODY:
            return {}  # Nobody's: calls without a team are no team's.
        wanted = Wanted(("model",), since)
        match level:
            case Level.KEY:
                wanted = replace(wanted, key=subject)
            case Level.USER:
                wanted = replace(wanted, user=subject, team=team or "")
            case Level.TEAM:
                wanted = replace(wanted, team=subject)
        return {
            one.groups[0] or None: Spent(one.prompt_tokens + one.completion_tokens, one.gpu_seconds)
            for one in await self.sums(wanted)
        }

    async def forget(self, before: datetime, most: int) -> int:
        oldest = select(calls.c.seq).where(calls.c.at < written(before)).order_by(calls.c.at, calls.c.seq).limit(most)
        async with self._writing() as (connection, _):
            return int((await connection.execute(delete(calls).where(calls.c.seq.in_(oldest)))).rowcount)

    async def days_of(self, time_zone: str) -> None:
        async with self._writing() as (connection, there):
            if there != time_zone:
                await connection.execute(update(about).where(_TIME_ZONE).values(value=time_zone))
                await sum_up_days(connection, ZoneInfo(time_zone))

    async def _entries(self, wanted: Select[Any]) -> list[tuple[int, Entry]]:
        async with self._reading() as connection:
            return [(row["seq"], entry_of(row)) for row in (await connection.execute(wanted)).mappings()]

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        """All statements see the same."""
        with _failing():
            async with self._engine.connect() as connection:
                await connection.exec_driver_sql(_BEGIN_READING[connection.dialect.name])
                yield connection

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[tuple[AsyncConnection, str]]:
        """All or nothing, and nobody else meanwhile; with the time zone of the days."""
        with _failing():
            async with self._engine.begin() as connection:
                if connection.dialect.name == "sqlite":
                    # From the start: whoever has read before others wrote cannot write any more.
                    await connection.exec_driver_sql("BEGIN IMMEDIATE")
                held = select(about.c.value).where(_TIME_ZONE).with_for_update()
                yield connection, (await connection.execute(held)).scalar_one()


_NEWEST = select(func.coalesce(func.max(calls.c.seq), 0))


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise StorageFailed from error


def _of_user(wanted: Select[Any], table: Table, user: str | None) -> Select[Any]:
    return wanted if user is None else wanted.where(table.c.user == user)


def _within(at: ColumnElement[str], since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    return [
        *([] if since is None else [at >= written(since)]),
        *([] if until is None else [at < written(until)]),
    ]


def _may_run_at(moment: datetime) -> ColumnElement[bool]:
    """True of every call that ran then, and of few others: the longer ago one began, the longer it has to have taken.

    Neither database can add seconds to our times, and to read all calls of a day in order to find three is slow.
    """
    ago = [timedelta(0), *(timedelta(minutes=2**power) for power in range(11)), LONGEST]
    steps = [
        and_(calls.c.at > written(moment - longer), calls.c.total_seconds >= shorter.total_seconds())
        for shorter, longer in pairwise(ago)
    ]
    return and_(calls.c.at <= written(moment), calls.c.at > written(moment - LONGEST), or_(*steps))


def _end(entry: Entry) -> datetime:
    return entry.at + timedelta(seconds=entry.total_seconds)
