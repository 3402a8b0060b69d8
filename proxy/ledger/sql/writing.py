"""What is done to write entries into the book, statement by statement, whoever brings these to the database. No I/O."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from proxy.ledger import Part
from proxy.ledger.sql.many import Known, given, inserting
from proxy.ledger.sql.rows import Row, row_of, row_of_running
from proxy.ledger.sql.sums import added
from proxy.ledger.sql.tables import calls, journals, running
from proxy.vocabulary import Entry

if TYPE_CHECKING:
    from sqlalchemy import Dialect, Table

Asked = tuple[str, Any]
"""A statement and what it is given: nothing, the values for it, or for SQLite a list of many."""
Writing = Generator[Asked, Sequence[Row], None]
"""Asks one after the other, and is sent the rows that come of it."""

_ZONE = "SELECT value FROM about WHERE name = 'time_zone'"
_NEWEST = "SELECT coalesce(max(seq), 0) FROM calls"
_NEWER = "SELECT id FROM calls WHERE seq > ?"
_ERASE = {
    "sqlite": "DELETE FROM running WHERE id IN (SELECT value FROM json_each(?))",
    "postgresql": "DELETE FROM running WHERE id = ANY($1::VARCHAR[])",
}
_encode = msgspec.json.Encoder().encode


def writing(dialect: Dialect, entries: Sequence[Entry], part: Part | None) -> Writing:
    """See ``Book.write``; to be done within one transaction in which nobody else writes."""
    rows: dict[str, Row] = {}
    for entry in entries:
        if entry.id not in rows:
            rows[entry.id] = row_of(entry)
    # On PostgreSQL whoever holds this row writes, on SQLite whoever has begun to.
    ((zone,),) = yield (_ZONE if dialect.name == "sqlite" else f"{_ZONE} FOR UPDATE"), ()
    if rows:
        new = yield from _kept(dialect, rows)
        for table, sums in added(new, ZoneInfo(zone)) if new else ():
            yield _insert(dialect, table, sums, Known.GROWS)
    if part is not None:
        going_on = [row_of_running(one, part.journal) for one in part.running if one.id not in rows]
        if going_on:
            yield _insert(dialect, running, going_on, Known.IS_REPLACED)
        if rows:
            ids = list(rows)
            yield _ERASE[dialect.name], (_encode(ids).decode() if dialect.name == "sqlite" else ids,)
        yield _insert(dialect, journals, [(part.journal, *part.mark)], Known.IS_REPLACED)


def _kept(dialect: Dialect, rows: dict[str, Row]) -> Generator[Asked, Sequence[Row], Sequence[Row]]:
    """Keep rows of calls; gives back those that were not there."""
    text, values = _insert(dialect, calls, list(rows.values()), Known.STAYS)
    if dialect.name == "sqlite":
        ((before,),) = yield _NEWEST, ()
        yield text, values
        new = yield _NEWER, (before,)
    else:
        new = yield f"{text} RETURNING id", values
    return [rows[entry_id] for (entry_id,) in new]


def _insert(dialect: Dialect, table: Table, rows: Sequence[Row], known: Known) -> Asked:
    return inserting(dialect, table, known), given(dialect, rows)
