"""What does the database look like?

Alembic's migrations, and the one function that brings a database to the newest of them.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from proxy.errors import StorageFailed

HERE = Path(__file__).parent
ADVISORY_LOCK = 0x6C676174  # "lgat"


async def upgrade(engine: AsyncEngine, lock_file: Path) -> None:
    """Bring the database to the newest schema; processes that start together wait for one another.

    ``lock_file`` serves SQLite, which has no locks that outlive a statement; PostgreSQL has its own.

    Raises StorageFailed.
    """
    try:
        async with alone(lock_file):  # Even to look: the first to open an SQLite file changes its mode.
            async with engine.connect() as connection:
                if await connection.run_sync(_is_newest):
                    return
            async with changing(engine) as connection:
                await connection.run_sync(_upgrade)
    except (SQLAlchemyError, CommandError, OSError) as error:
        raise StorageFailed from error


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration: there is no ini file."""
    made = Config()
    made.set_main_option("script_location", str(HERE).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


def _is_newest(connection: Connection) -> bool:
    newest = ScriptDirectory.from_config(config()).get_current_head()
    return MigrationContext.configure(connection).get_current_revision() == newest


def _upgrade(connection: Connection) -> None:
    command.upgrade(config(connection), "head")


@asynccontextmanager
async def changing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
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
