from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from proxy.auth import Key
from proxy.auth.key_store_sql import SqlKeyStore
from proxy.errors import StorageFailed
from proxy.schema import database
from proxy.vocabulary import Limits
from tests.fakes.databases import NewEngine

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = Key(id="k1", user="alice", plan="default", created_at=NOON, digest=b"canary" * 5)

# The contract itself is tested in contracts/; this is what is SQL's own.


@pytest.mark.parametrize(
    "url", ["sqlite+aiosqlite:///{}/without-tables.db", "postgresql+asyncpg://u:canary@/x?host={}"]
)
async def test_a_database_that_cannot_be_used_is_our_own_fault_and_tells_no_secret(tmp_path: Path, url: str) -> None:
    engine = database.engine(url.format(tmp_path))
    store = SqlKeyStore(engine)
    changes = (store.add(KEY), store.revoke("k1", NOON), store.update("k1", Limits(1)))
    for asked in (store.find("k1"), store.all(), *changes):
        with pytest.raises(StorageFailed) as raised:
            await asked

        assert "canary" not in f"{raised.value} {raised.value.__cause__}"
    await engine.dispose()


async def test_a_clash_of_ids_does_not_tell_the_digest(new_engine: NewEngine) -> None:
    async with new_engine("sqlite") as engine:
        await SqlKeyStore(engine).add(KEY)
        with pytest.raises(StorageFailed) as raised:
            await SqlKeyStore(engine).add(KEY)

        assert "canary" not in f"{raised.value} {raised.value.__cause__}"


async def test_times_are_written_so_that_they_sort_as_text(new_engine: NewEngine) -> None:
    async with new_engine("sqlite") as engine:
        await SqlKeyStore(engine).add(KEY)
        async with engine.connect() as connection:
            written = (await connection.execute(text("SELECT created_at FROM keys"))).scalar_one()

    assert "2026-03-01T12:00:00.000000+00:00" == written
