"""What docs/upgrading.md says of databases and journals of other versions, and of which commands open the database."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from proxy import schema
from proxy.errors import StorageFailed
from proxy.ledger import steps
from proxy.schema import database
from proxy.vocabulary import Entry, Outcome
from tests.end_to_end.gate import ended

OF_BEFORE = (
    b'{"id":"01a","at":"2026-03-01T12:00:00Z","endpoint":"POST /api/chat","outcome":"served","status":200,'
    b'"user":"alice","usage":{"prompt_tokens":7,"completion_tokens":3}%b}'
)
"""What a version wrote that knew nothing of costs, changes and addresses."""


def entry(**more: float) -> Entry:
    step = steps.read(b"E" + OF_BEFORE % b"".join(b',"%b":%d' % (key.encode(), more[key]) for key in more))
    assert isinstance(step, Entry)
    return step


def test_what_an_older_version_did_not_write_into_its_journal_has_its_default() -> None:
    read = entry()

    assert ("alice", 7, 3, Outcome.SERVED) == (
        read.user,
        read.usage.prompt_tokens,
        read.usage.completion_tokens,
        read.outcome,
    )
    assert (None, (), "", False) == (read.cost, read.changes, read.peer, read.prompt_cut)
    assert datetime(2026, 3, 1, 12, tzinfo=UTC) == read.at


def test_what_a_journal_has_beyond_what_this_version_knows_is_no_mistake() -> None:
    assert entry() == entry(something_new=5)


async def test_a_database_of_a_newer_version_is_not_opened_and_not_changed(tmp_path: Path) -> None:
    engine = database.engine(f"sqlite+aiosqlite:///{tmp_path / 'records.db'}")
    try:
        await schema.upgrade(engine, tmp_path / "lock")
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(StorageFailed):
            await schema.upgrade(engine, tmp_path / "lock")
        async with engine.connect() as connection:
            found = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()
    finally:
        await engine.dispose()

    assert "9999" == found


def test_only_commands_that_need_the_database_make_one(tmp_path: Path) -> None:
    (tmp_path / "llamagate.toml").write_text('[plans.default]\nmodels = ["*"]\n')
    statuses = [ended(tmp_path, *words).returncode for words in (["check"], ["settings"])]

    assert [0, 0] == statuses
    assert not (tmp_path / "state").exists()
    assert 0 == ended(tmp_path, "keys", "list").returncode
    assert (tmp_path / "state/llamagate.db").is_file()
