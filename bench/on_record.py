"""Keys on record, any number of them: put into the database by the project's own tables, for a desk takes its time.

Most of them nobody could use, for their digests are chance. Some are real.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.dialects import sqlite

from bench.limits import TEAM
from proxy.auth import Key, api_keys
from proxy.auth.sql.rows import row_of
from proxy.auth.sql.tables import keys
from proxy.bootstrap.storage import pepper_of, records
from proxy.config.settings import DEFAULT_PLAN, Settings

_COLUMNS = keys.c.keys()
_INSERT = str(insert(keys).compile(dialect=sqlite.dialect(), column_keys=_COLUMNS))

Row = dict[str, Any]


async def issue(folder: Path, real: int, others: int = 0) -> list[str]:
    """Keys for the gate of this state directory, which need not be there: those that are real."""
    settings = Settings.model_validate({"state_dir": str(folder)})
    async with records(settings):
        pass  # There is a database now, at the newest schema.
    pepper = pepper_of(settings)
    like = row_of(Key("", "", DEFAULT_PLAN, datetime.now(UTC), team=TEAM, digest=bytes(32)))
    issued = [api_keys.new(secrets.token_bytes) for _ in range(real)]
    with closing(sqlite3.connect(folder / "llamagate.db")) as connection, connection:
        connection.execute("PRAGMA synchronous=OFF")  # What is lost with the machine is the measurement's own.
        _put(connection, like, ((key_id, api_keys.digest(key, pepper)) for key_id, key in issued))
        _put(connection, like, _made_up(others))
    return [key for _, key in issued]


def _made_up(count: int) -> Iterator[tuple[str, bytes]]:
    # In the order of the index, which makes it much faster; no real id begins with so many zeros but by a miracle.
    return ((f"{number:0{api_keys.ID_LENGTH}d}", secrets.token_bytes(32)) for number in range(count))


def _put(connection: sqlite3.Connection, like: Row, those: Iterable[tuple[str, bytes]]) -> None:
    row = [like.get(name) for name in _COLUMNS]
    at_id, at_user, at_digest = map(_COLUMNS.index, ("id", "user", "digest"))

    def rows() -> Iterator[list[Any]]:
        for key_id, digest in those:
            row[at_id], row[at_user], row[at_digest] = key_id, f"user-{key_id}", digest
            yield row

    connection.executemany(_INSERT, rows())
