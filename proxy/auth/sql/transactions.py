"""Transactions that read what is on record, and those that change it, one at a time and each with its acts.

The latter wait for one another, on PostgreSQL too: so acts have numbers without a gap, and become visible in that order
to those who follow them. All raise StorageFailed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Table, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from proxy.auth import Act, Taken
from proxy.auth.sql.rows import Row, row_of_act
from proxy.auth.sql.tables import acts, counters
from proxy.errors import StorageFailed

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

PAGE = 500
"""Rows that are looked up or changed at once, where there may be any number."""

NEWEST = select(counters.c.value).where(counters.c.name == "acts")


class Change:
    """What happens in a transaction while nobody else changes anything."""

    def __init__(self, connection: AsyncConnection, newest: int) -> None:
        self.connection = connection
        self._newest = newest

    def expect(self, newest: int) -> None:
        """Raises Taken where there are acts after that one."""
        if newest != self._newest:
            raise Taken("Something else was put on record or changed meanwhile.")

    async def put(self, table: Table, rows: Sequence[Row]) -> None:
        """Add rows to a table whose primary key is one name. Raises Taken."""
        (column,) = table.primary_key.columns
        names = [row[column.name] for row in rows]
        seen: set[str] = set()
        for name in names:
            _refuse(table, name if name in seen else None)
            seen.add(name)
        for start in range(0, len(names), PAGE):
            there = select(column).where(column.in_(names[start : start + PAGE])).limit(1)
            _refuse(table, await self.connection.scalar(there))
        if rows:
            await self.connection.execute(insert(table), list(rows))

    async def record(self, *more: Act) -> None:
        """Put acts at the end of the trail."""
        if not more:
            return
        rows = [row_of_act(act, number) for number, act in enumerate(more, self._newest + 1)]
        self._newest += len(more)
        await self.connection.execute(insert(acts), rows)
        await self.connection.execute(update(counters).where(counters.c.name == "acts").values(value=self._newest))


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One that is over when the block is."""
    with _failing():
        async with engine.connect() as connection:
            yield connection


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """All or nothing."""
    with _failing():
        async with engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                # From the start: whoever has read before others wrote cannot write any more.
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection


@asynccontextmanager
async def changing(engine: AsyncEngine) -> AsyncIterator[Change]:
    """As ``writing``, once every other of these is over."""
    async with writing(engine) as connection:
        yield Change(connection, (await connection.execute(NEWEST.with_for_update())).scalar_one())


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError, ValueError) as error:  # The last of a row that is not as anybody wrote it here.
        raise StorageFailed from error


def _refuse(table: Table, name: str | None) -> None:
    if name is not None:
        raise Taken(f"There is a {table.name.removesuffix('s')} {name} already.")
