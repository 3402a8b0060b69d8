"""Writes many rows by one statement, in the database's own words.

SQLAlchemy handles each value of each row by itself, which costs more than both databases take to write them.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Dialect, Table, bindparam, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import UpdateBase

_INSERT: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Known(Enum):
    """What becomes of a row whose key is there already."""

    STAYS = auto()
    IS_REPLACED = auto()
    GROWS = auto()
    """By every value that is not of the key."""


async def write(connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]], known: Known) -> None:
    """Write rows that have the same columns, with values as the database has them."""
    if rows:
        statement = _inserting(connection.dialect.name, table, known)
        await _execute(connection, statement, rows, tuple(rows[0]))


async def erase(connection: AsyncConnection, table: Table, ids: Sequence[str]) -> None:
    """Erase the rows that have these ids, as far as there are such."""
    if ids:
        await _execute(connection, _erasing(table), [{"id": one} for one in ids], ("id",))


async def _execute(
    connection: AsyncConnection, statement: UpdateBase, rows: Sequence[Mapping[str, Any]], columns: tuple[str, ...]
) -> None:
    text, order = _compiled(statement, connection.dialect, columns)
    values = itemgetter(*order) if len(order) > 1 else lambda row: (row[order[0]],)
    await connection.exec_driver_sql(text, [values(row) for row in rows])


@cache
def _inserting(dialect: str, table: Table, known: Known) -> UpdateBase:
    added = _INSERT[dialect](table)
    keys = list(table.primary_key)
    rest = [column.name for column in table.c if column not in keys]
    if known is Known.STAYS:
        return added.on_conflict_do_nothing()  # type: ignore[no-any-return]
    grows = known is Known.GROWS
    changed = {name: table.c[name] + added.excluded[name] if grows else added.excluded[name] for name in rest}
    return added.on_conflict_do_update(index_elements=keys, set_=changed)  # type: ignore[no-any-return]


@cache
def _erasing(table: Table) -> UpdateBase:
    return delete(table).where(table.c.id == bindparam("id"))


@lru_cache(maxsize=64)
def _compiled(statement: UpdateBase, dialect: Dialect, columns: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The statement as the driver takes it, and in which order it takes the values."""
    compiled = statement.compile(dialect=dialect, column_keys=list(columns))
    return str(compiled), tuple(compiled.positiontup or ())
