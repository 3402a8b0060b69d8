"""An engine for the database that the URL names."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio.engine import AsyncEngine, create_async_engine

PRAGMAS = (
    "busy_timeout=5000",  # First: the others may have to wait too.
    "journal_mode=WAL",  # Readers (the command line) and the one writer (the gate) do not wait for one another.
    "synchronous=FULL",  # What is committed is on the disk: the journal forgets it then. Lines come in groups.
)


def engine(url: str) -> AsyncEngine:
    """The engine; nothing is opened before it is used. The URL never shows in its errors."""
    made = create_async_engine(url, pool_pre_ping=not url.startswith("sqlite"), hide_parameters=True)
    if made.dialect.name == "sqlite":
        event.listen(made.sync_engine, "connect", _prepare)
    return made


def file_of(url: str) -> str | None:
    """The file of an SQLite database; None for any other."""
    parsed = make_url(url)
    return parsed.database if parsed.get_backend_name() == "sqlite" else None


def _prepare(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
