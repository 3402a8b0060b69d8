from pathlib import Path

import pytest
from sqlalchemy import text

from proxy.schema import database


async def test_sqlite_lets_readers_and_the_writer_pass_and_waits_for_others(tmp_path: Path) -> None:
    engine = database.engine(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")
    async with engine.connect() as connection:
        told = [
            (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        ]
    await engine.dispose()

    assert ["wal", 2, 5000] == told


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite+aiosqlite:////var/lib/x.db", "/var/lib/x.db"),
        ("sqlite+aiosqlite:///x.db", "x.db"),
        ("postgresql+asyncpg://u:p@db/x", None),
    ],
)
def test_only_sqlite_has_a_file(url: str, file: str | None) -> None:
    assert file == database.file_of(url)


@pytest.mark.parametrize("url", ["postgresql+asyncpg://u:canary@db/x", "sqlite+aiosqlite:///x.db"])
async def test_an_engine_shows_no_password(url: str) -> None:
    engine = database.engine(url)

    assert "canary" not in repr(engine)
    await engine.dispose()
