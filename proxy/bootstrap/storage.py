"""Open what is kept: the database, with keys and the ledger in it, and the pepper beside it."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from proxy import schema
from proxy.auth import Registry, pepper
from proxy.auth.sql import SqlRegistry
from proxy.config.settings import Settings
from proxy.errors import Misconfigured, StorageFailed
from proxy.ledger import Book
from proxy.ledger.sql import SqlBook
from proxy.schema import database


@dataclass(frozen=True, slots=True)
class Records:
    """What is kept in the database."""

    registry: Registry
    book: Book


def make_ready(settings: Settings) -> None:
    """The state directory and the file of the database, for nobody's eyes but ours. Raises Misconfigured."""
    folder = settings.state_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (file := database.file_of(settings.database)) is not None:
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise Misconfigured(f"{error.filename or folder} cannot be used: {error.strerror}") from error


@asynccontextmanager
async def records(settings: Settings) -> AsyncIterator[Records]:
    """The database, open and at the newest schema. Raises Misconfigured."""
    make_ready(settings)
    engine = database.engine(settings.database)
    try:
        try:
            await schema.upgrade(engine, settings.state_dir / "schema.lock")
        except StorageFailed as error:
            raise Misconfigured(f"The database cannot be opened: {error.why}") from error
        yield Records(SqlRegistry(engine), SqlBook(engine))
    finally:
        await engine.dispose()


def pepper_of(settings: Settings) -> bytes:
    if settings.pepper is not None:
        return settings.pepper.get_secret_value().encode()
    return pepper.kept_in(settings.state_dir, secrets.token_bytes)
