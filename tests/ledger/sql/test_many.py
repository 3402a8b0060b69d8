import pytest
from sqlalchemy import Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg

from proxy.ledger.sql.many import Known, given, inserting
from proxy.ledger.sql.tables import calls, journals, metadata, quarters

SQLITE, POSTGRESQL = sqlite.dialect(), asyncpg.dialect()  # type: ignore[no-untyped-call]
ROWS = [("a", 1, 2), ("b", 3, 4)]


def test_sqlite_is_given_each_row() -> None:
    text = inserting(SQLITE, journals, Known.IS_REPLACED)

    assert text.startswith('INSERT INTO journals (journal, segment, "offset") VALUES (?, ?, ?) ON CONFLICT (journal)')
    assert ROWS == given(SQLITE, ROWS)


def test_postgresql_is_given_each_column_as_an_array() -> None:
    text = inserting(POSTGRESQL, journals, Known.IS_REPLACED)

    assert "SELECT * FROM unnest($1::VARCHAR[], $2::BIGINT[], $3::BIGINT[]) ON CONFLICT (journal)" in text
    assert (["a", "b"], [1, 3], [2, 4]) == given(POSTGRESQL, ROWS)


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=str)
@pytest.mark.parametrize("known", [Known.STAYS, Known.IS_REPLACED])
def test_every_column_of_every_table_becomes_an_array(table: Table, known: Known) -> None:
    text = inserting(POSTGRESQL, table, known)

    assert "VALUES" not in text
    assert text.count("$") == text.count("[]") == len(table.c) - (table is calls)


def test_a_row_that_is_there_stays_or_is_replaced_or_grows() -> None:
    assert inserting(SQLITE, calls, Known.STAYS).endswith("ON CONFLICT DO NOTHING")
    assert "calls = (quarters.calls + excluded.calls)" in inserting(SQLITE, quarters, Known.GROWS)
    assert "calls = excluded.calls" in inserting(SQLITE, quarters, Known.IS_REPLACED)
