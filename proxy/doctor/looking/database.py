"""Asks the database. Brings no schema up to date and makes no file."""

import asyncio
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from proxy.auth.sql import SqlRegistry
from proxy.config.addresses import is_loopback
from proxy.doctor.clocks import Clock
from proxy.doctor.database import Database
from proxy.doctor.looking import PATIENCE_SECONDS, told, within
from proxy.errors import StorageFailed
from proxy.schema import NEWEST, database
from proxy.vocabulary import Now


async def look(url: str, *, now: Now, patience: float = PATIENCE_SECONDS) -> tuple[Database, Clock | None]:
    """``url`` with its driver. Also how the clock of another server stands, where it tells."""
    file = database.file_of(url)
    found = Database("PostgreSQL" if file is None else "SQLite", is_local=file is not None or is_local(url))
    try:
        if file is not None:
            await asyncio.to_thread(Path(file).stat)
    except PermissionError:
        return replace(found, is_hidden=True), None
    except OSError:
        return replace(found, is_there=False), None
    engine = database.engine(url)

    async def asked() -> tuple[Database, Clock | None]:
        try:
            return await _asked(engine, found, now)
        except SQLAlchemyError as error:
            return replace(found, failure=_why(error)), None

    try:
        return await within(patience, asked(), lambda why: (replace(found, failure=why), None))
    finally:
        await engine.dispose()


async def _asked(engine: AsyncEngine, found: Database, now: Now) -> tuple[Database, Clock | None]:
    clock = None
    async with engine.connect() as connection:
        if found.kind == "PostgreSQL":
            await connection.execute(text("SELECT 1"))  # So that no handshake is reckoned in.
            before = now()
            theirs = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
            after = now()
            clock = _clock(theirs, before, after)
            version = (await connection.execute(text("SHOW server_version_num"))).scalar_one()
            ssl = await connection.execute(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
            found = replace(found, version=int(version) // 10_000, has_tls=ssl.scalar_one_or_none())
        has_table = await connection.run_sync(lambda sync: sync.dialect.has_table(sync, "alembic_version"))
        if has_table:
            revision = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
            found = replace(found, revision=revision)
    if found.revision == NEWEST:
        found = replace(found, live_keys=await _live(engine, now))
    return found, clock


async def _live(engine: AsyncEngine, now: Now) -> int | None:
    try:
        return sum(key.state(now()) == "live" for key in await SqlRegistry(engine).keys())
    except StorageFailed:
        return None


def _clock(theirs: datetime, before: datetime, after: datetime) -> Clock:
    middle = before + (after - before) / 2
    return Clock("PostgreSQL", (theirs - middle).total_seconds(), (after - before).total_seconds() / 2)


def is_local(url: str) -> bool:
    """Whether it is asked by a socket in the file system, or on loopback."""
    return all(one.startswith("/") or is_loopback(one) for one in hosts(url))


def hosts(url: str) -> list[str]:
    """Where a PostgreSQL is looked for: names, addresses, and folders of sockets; none means a usual folder."""
    parsed = make_url(url)
    host: Any = parsed.query.get("host") or parsed.host or ""
    return list(filter(None, [host] if isinstance(host, str) else host))


_STATES = {
    "28000": "it does not let this user in",
    "28P01": "it does not take the password",
    "3D000": "there is no database of that name",
    "53300": "it has too many connections",
    "57P03": "it is starting or stopping",
}
"""What PostgreSQL means (its manual, appendix A)."""


def _why(error: SQLAlchemyError) -> str:
    """Not in the words of SQLAlchemy, which may name who was to be let in."""
    cause: BaseException | None = getattr(error, "orig", None)
    while cause is not None:
        if isinstance(cause, OSError):
            return told(cause)
        state = getattr(cause, "sqlstate", None)
        if state is not None:
            return _STATES.get(state, f"it says SQLSTATE {state}")
        if name := getattr(cause, "sqlite_errorname", None):
            return f"SQLite says {name}"
        cause = cause.__cause__
    return type(error).__name__
