"""Writes into an SQLite file from a thread, a whole transaction at once.

The driver that the loop has for SQLite brings every statement to a thread of its own and its answer back, which costs
more than most statements do.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, event

from proxy.ledger.sql.writing import Writing

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_PRAGMAS = ("busy_timeout", "synchronous")
"""Those which hold for one connection only."""


class OneHop:
    """Connections to the file of another engine, which end when that one is disposed of."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._other = engine
        self._engine: Engine | None = None

    async def do(self, asked: Writing) -> None:
        """All of it in one transaction, or nothing. Raises SQLAlchemyError."""
        if self._engine is None:
            self._engine = await self._opened()
        await asyncio.to_thread(_do, self._engine, asked)

    async def _opened(self) -> Engine:
        """Its connections wait and write as those of the other engine do."""
        async with self._other.connect() as connection:
            told = {name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one() for name in _PRAGMAS}
        made = create_engine(self._other.url.set(drivername="sqlite"), hide_parameters=True)

        def prepare(connection: Any, _record: object) -> None:
            cursor = connection.cursor()
            for name, value in told.items():
                cursor.execute(f"PRAGMA {name}={int(value)}")
            cursor.close()

        event.listen(made, "connect", prepare)
        event.listen(self._other.sync_engine, "engine_disposed", lambda _engine: made.dispose())
        return made


def _do(engine: Engine, asked: Writing) -> None:
    with engine.connect() as connection:
        # From the start: whoever has read before others wrote cannot write any more.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        found: Any = None
        with suppress(StopIteration):
            while True:
                text, values = asked.send(found)
                result = connection.exec_driver_sql(text, values or None)
                found = result.all() if result.returns_rows else ()
        connection.commit()
