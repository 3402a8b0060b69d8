from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import StorageFailed
from proxy.ledger import GROUPS
from proxy.ledger.sql import SqlBook
from proxy.schema import database
from proxy.vocabulary import Entry, Level, Outcome
from tests.fakes.databases import KINDS, NewEngine

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ENTRY = Entry("e1", NOON, "/api/chat", Outcome.SERVED, 200)
UNWRITABLE: dict[str, Any] = {"endpoint": None}

# The contract itself is tested in contracts/; this is what is SQL's own.


@pytest.mark.parametrize("kind", KINDS)
async def test_a_group_is_written_as_a_whole_or_not_at_all(new_engine: NewEngine, kind: str) -> None:
    async with new_engine(kind) as engine:
        book = SqlBook(engine)
        with pytest.raises(StorageFailed) as raised:
            await book.write([ENTRY, replace(ENTRY, id="canary", **UNWRITABLE), replace(ENTRY, id="e3")])

        assert [] == await book.last(10)
        if kind == "sqlite":  # PostgreSQL quotes the row, see its own settings.
            assert "canary" not in str(raised.value.__cause__)


@pytest.mark.parametrize(
    "url", ["sqlite+aiosqlite:///{}/without-tables.db", "postgresql+asyncpg://u:canary@/x?host={}"]
)
async def test_a_database_that_cannot_be_used_is_our_own_fault_and_tells_no_secret(tmp_path: Path, url: str) -> None:
    engine = database.engine(url.format(tmp_path))
    book = SqlBook(engine)
    spent = [book.spent(level, "", NOON) for level in Level]
    for asked in (book.write([ENTRY]), book.last(1), book.since(0), book.mark(), *map(book.sums, GROUPS), *spent):
        with pytest.raises(StorageFailed) as raised:
            await asked

        assert "canary" not in f"{raised.value} {raised.value.__cause__}"
    await engine.dispose()
