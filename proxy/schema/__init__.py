"""What does the database look like?

Alembic's migrations, and the one function that brings a database to the newest of them.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from proxy.errors import StorageFailed
from proxy.late import late

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from proxy.schema import migrating
else:
    migrating = late("proxy.schema.migrating")

NEWEST = "0005"
"""The last of the migrations. It stands here so that a gate that finds it in its database need not load Alembic."""
ADVISORY_LOCK = 0x6C676174  # "lgat"


async def upgrade(engine: "AsyncEngine", lock_file: Path) -> None:
    """Bring the database to the newest schema; processes that start together wait for one another.

    ``lock_file`` serves SQLite, which has no locks that outlive a statement; PostgreSQL has its own.

    Raises StorageFailed.
    """
    try:
        async with alone(lock_file):  # Even to look: the first to open an SQLite file changes its mode.
            async with engine.connect() as connection:
                if await connection.run_sync(_revisions) == [NEWEST]:
                    return
            async with changing(engine) as connection:
                await connection.run_sync(migrating.upgrade)
    except (SQLAlchemyError, OSError) as error:
        raise StorageFailed from error


def _revisions(connection: Connection) -> list[str]:
    """What Alembic has noted of the schema; nothing where it never was here."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return []
    return [str(row[0]) for row in connection.execute(text("SELECT version_num FROM alembic_version"))]


@asynccontextmanager
async def changing(engine: "AsyncEngine") -> "AsyncIterator[AsyncConnection]":
    """A transaction in which tables may be made and changed, and nobody else's are at the same time."""
    async with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
        else:
            # Python's sqlite3 begins no transaction for a CREATE: half a migration would stay behind.
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


@asynccontextmanager
async def alone(lock_file: Path) -> AsyncIterator[None]:
    """Hold the lock by which processes on this machine wait for one another. Raises OSError."""
    descriptor = os.open(lock_file, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        # In a thread: whoever holds it may be another task of this very loop.
        await asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
