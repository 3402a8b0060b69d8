"""All that a database holds, read out at one moment and put into an empty one, of the same kind or another.

Tables are taken as the database has them at its revision, so that what an older version of the gate kept can be read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    func,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import SQLAlchemyError

from proxy.auth import sql as auth_sql
from proxy.errors import StorageFailed
from proxy.ledger import sql as ledger_sql
from proxy.schema import alone, changing
from proxy.schema.migrating import config, scripts

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

Value = str | int | float | bool | bytes | None
Row = Mapping[str, Value]

PAGE = 500
"""Rows that are read or written at once."""
DECLARED = {
    name: table for metadata in (auth_sql.metadata, ledger_sql.metadata) for name, table in metadata.tables.items()
}
"""All tables that there may be, as this version of the gate has them."""
SURE_TO_BE_THERE = frozenset({"about", "counters", "journals"})
"""Tables of which rows say nothing that could be missed: they come with the schema, or with a gate that was started."""


class Snapshot:
    """What the database held when it was opened, however much is written since. Every method raises StorageFailed."""

    def __init__(self, connection: AsyncConnection, revision: str | None, tables: Mapping[str, Table]) -> None:
        self._connection = connection
        self._tables = tables
        self.revision = revision
        """Of the schema; None where there is none."""

    @property
    def tables(self) -> Sequence[str]:
        return tuple(self._tables)

    async def rows(self, table: str) -> AsyncIterator[Sequence[Row]]:
        """Every row, in pages, in the order of the primary key."""
        there = self._tables[table]
        try:
            result = await self._connection.stream(
                select(there).order_by(*there.primary_key.columns), execution_options={"yield_per": PAGE}
            )
            async for page in result.mappings().partitions():
                yield [{name: _read(value) for name, value in row.items()} for row in page]
        except (SQLAlchemyError, OSError) as error:
            raise StorageFailed from error

    async def last_number(self, table: str) -> int | None:
        """The last that the database gave to a row, even if that is gone; None where it numbers none."""
        there = self._tables[table]
        column = _numbered(there)
        if column is None:
            return None
        try:
            given = await self._connection.scalar(select(func.max(column))) or 0
            if self._connection.dialect.name == "postgresql":
                name = await self._connection.scalar(select(func.pg_get_serial_sequence(table, column.name)))
                if name is not None:  # It comes quoted.
                    last = f"SELECT last_value FROM {name} WHERE is_called"  # noqa: S608
                    given = max(given, await self._connection.scalar(text(last)) or 0)
            elif await self._connection.run_sync(_numbers_rows):
                last = "SELECT max(seq) FROM sqlite_sequence WHERE name = :name"
                given = max(given, await self._connection.scalar(text(last), {"name": table}) or 0)
        except (SQLAlchemyError, OSError) as error:
            raise StorageFailed from error
        return int(given)


class Refill:
    """A database that is being filled; nothing of it is there for others before the end."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._tables: Mapping[str, Table] = {}

    async def occupied(self) -> str | None:
        """The name of a table in which there is something; None where all are empty. Raises StorageFailed."""
        try:
            _, tables = await self._connection.run_sync(_found)
            for name, table in tables.items():
                if name not in SURE_TO_BE_THERE and await self._connection.scalar(
                    select(1).select_from(table).limit(1)
                ):
                    return name
        except (SQLAlchemyError, OSError) as error:
            raise StorageFailed from error
        return None

    async def begin(self, revision: str) -> Sequence[str]:
        """Make the tables anew as they were at that revision, which must be known, and tell their names.

        Raises StorageFailed.
        """
        try:
            await self._connection.run_sync(_made_anew, revision)
            _, self._tables = await self._connection.run_sync(_found)
            for table in self._tables.values():
                await self._connection.execute(table.delete())  # What migrations put there comes with the rows.
        except (SQLAlchemyError, CommandError, OSError) as error:
            raise StorageFailed from error
        return tuple(self._tables)

    async def add(self, table: str, rows: Sequence[Row]) -> None:
        """Raises ValueError where these are no rows of this table, and StorageFailed."""
        there = self._tables[table]
        checked = [_checked(there, row) for row in rows]
        try:
            if checked:
                await self._connection.execute(insert(there), checked)
        except (SQLAlchemyError, OSError) as error:
            raise StorageFailed from error

    async def finish(self, last_numbers: Mapping[str, int]) -> None:
        """Bring it all to the newest schema, and go on from these numbers. Raises StorageFailed."""
        try:
            await self._connection.run_sync(lambda connection: command.upgrade(config(connection), "head"))
            _, tables = await self._connection.run_sync(_found)
            for name, last in last_numbers.items():
                if name in tables and (column := _numbered(tables[name])) is not None:
                    await self._go_on(name, column, last)
        except (SQLAlchemyError, CommandError, OSError) as error:
            raise StorageFailed from error

    async def _go_on(self, table: str, column: Column[Any], last: int) -> None:
        last = max(last, await self._connection.scalar(select(func.max(column))) or 0)
        if last == 0:
            return
        if self._connection.dialect.name == "postgresql":
            sequence = func.pg_get_serial_sequence(table, column.name)
            await self._connection.execute(select(func.setval(sequence, last)))
        elif await self._connection.run_sync(_numbers_rows):
            row = {"name": table, "last": last}
            await self._connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), row)
            await self._connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), row)


class Copying:
    """A database that is copied as a whole."""

    tables: Sequence[str] = tuple(DECLARED)
    """All that there may be."""

    def __init__(self, engine: AsyncEngine, lock_file: Path) -> None:
        """``lock_file`` is that of ``schema.upgrade``."""
        self._engine = engine
        self._lock_file = lock_file

    def knows(self, revision: str) -> bool:
        """Whether the schema is one that this version of the gate can read, and bring to its own."""
        with suppress(CommandError):
            return revision in {script.revision for script in scripts().walk_revisions()}
        return False

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """The database as it is now; whoever writes meanwhile waits for nothing. Raises StorageFailed."""
        try:
            async with self._engine.connect() as connection:
                if connection.dialect.name == "postgresql":
                    await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                else:
                    await connection.exec_driver_sql("BEGIN")  # Python's sqlite3 begins none to read.
                revision, tables = await connection.run_sync(_found)
                yield Snapshot(connection, revision, tables)
        except (SQLAlchemyError, OSError) as error:
            raise StorageFailed from error

    @asynccontextmanager
    async def refill(self) -> AsyncIterator[Refill]:
        """One transaction, which stays only if the block comes to its end. Raises StorageFailed."""
        try:
            async with alone(self._lock_file), changing(self._engine) as connection:
                yield Refill(connection)
        except (SQLAlchemyError, OSError) as error:
            raise StorageFailed from error


def _found(connection: Connection) -> tuple[str | None, Mapping[str, Table]]:
    """The revision, and those of our tables that are there, by their names."""
    revision = MigrationContext.configure(connection).get_current_revision()
    there = inspect(connection).get_table_names()
    metadata = MetaData()
    return revision, {name: Table(name, metadata, autoload_with=connection) for name in Copying.tables if name in there}


def _made_anew(connection: Connection, revision: str) -> None:
    if MigrationContext.configure(connection).get_current_revision() is not None:
        command.downgrade(config(connection), "base")
    command.upgrade(config(connection), revision)


def _numbered(table: Table) -> Column[Any] | None:
    """The column for which the database gives numbers."""
    declared = DECLARED[table.name].autoincrement_column  # SQLite does not tell.
    return None if declared is None else table.columns[declared.name]


def _numbers_rows(connection: Connection) -> bool:
    """Whether SQLite remembers which numbers it has given, for any of its tables."""
    return bool(connection.scalar(text("SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'")))


def _read(value: Any) -> Value:
    return bytes(value) if isinstance(value, memoryview) else value


def _checked(table: Table, row: Row) -> Row:
    """The row, once it is sure to be one of this table. Raises ValueError."""
    if row.keys() != set(table.columns.keys()):
        raise ValueError(f"a row of {table.name} has other columns than the table")
    for name, value in row.items():
        column = table.columns[name]
        if not (_fits(column, value) or (value is None and column.nullable)):
            raise ValueError(f"a row of {table.name} has a {name} that cannot be")
    return row


def _fits(column: Column[Any], value: Value) -> bool:
    match column.type:
        case Boolean():
            return isinstance(value, bool)
        case Integer():
            return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
        case Float():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case LargeBinary():
            return isinstance(value, bytes)
    with suppress(UnicodeEncodeError):
        return isinstance(value, str) and bool(value.encode() or True)
    return False
