import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from proxy.auth.sql import SqlRegistry
from proxy.bootstrap.storage import Records
from proxy.doctor import clocks
from proxy.doctor.database import Database, findings
from proxy.doctor.looking import database as looking
from proxy.doctor.looking import machine
from proxy.ledger.sql import SqlBook
from proxy.schema import NEWEST
from tests.doctor.shown import shown
from tests.fakes.databases import KINDS, NewDatabase, NewEngine, Postgres
from tests.fakes.tools import a_desk


def now() -> datetime:
    return datetime.now(UTC)


async def look(url: str, patience: float = 4.0) -> Database:
    return (await looking.look(url, now=now, patience=patience))[0]


def told(found: Database) -> dict[str, str]:
    return dict(shown(findings(found, NEWEST, has_issuers=False)))


def names_in(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_good_one_is_found_good(kind: str, new_engine: NewEngine) -> None:
    async with new_engine(kind) as engine:
        kept = Records(SqlRegistry(engine), SqlBook(engine))
        desk = a_desk(kept.registry, kept.book, now=now)
        await desk.create_key("alice")
        revoked = await desk.create_key("bob")
        await desk.revoke(revoked.key.id)
        found = await look(engine.url.render_as_string(hide_password=False))

    assert {"database.reachable": "ok", "database.schema": "ok", "gate.keys": "ok"} == told(found)
    assert (1, NEWEST) == (found.live_keys, found.revision)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into everything")
async def test_one_in_a_folder_that_is_closed_to_us_is_no_reason_to_fail(tmp_path: Path) -> None:
    (closed := tmp_path / "state").mkdir()
    (closed / "llamagate.db").touch()
    closed.chmod(0)
    try:
        found = await look(f"sqlite+aiosqlite:///{closed}/llamagate.db")
        disk = machine.disk(closed / "deeper", 100)
    finally:
        closed.chmod(0o700)

    assert {"database.reachable": "info"} == told(found)
    assert (disk.free or 0) > 0


@pytest.mark.parametrize("kind", KINDS)
async def test_without_a_live_key_that_is_told(kind: str, new_engine: NewEngine) -> None:
    async with new_engine(kind) as engine:
        found = await look(engine.url.render_as_string(hide_password=False))

    assert "warning" == told(found)["gate.keys"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_schema_of_a_newer_gate_is_told_and_left_as_it_is(kind: str, new_engine: NewEngine) -> None:
    async with new_engine(kind) as engine:
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        found = await look(engine.url.render_as_string(hide_password=False))

    assert "critical" == told(found)["database.schema"]


async def test_an_empty_database_is_left_empty(new_database: NewDatabase) -> None:
    url = new_database("postgresql")
    found = await look(url)

    assert (None, "info") == (found.revision, told(found)["database.schema"])
    assert (await look(url)).revision is None


async def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    found = await look(f"sqlite+aiosqlite:///{tmp_path}/none.db")

    assert {"database.reachable": "info"} == told(found)
    assert [] == names_in(tmp_path)


async def test_a_file_that_is_no_database_is_told_of(tmp_path: Path, migrated: Path) -> None:
    file = tmp_path / "broken.db"
    shutil.copy(migrated, file)
    file.write_bytes(b"no database at all" * 100)
    found = await look(f"sqlite+aiosqlite:///{file}")

    assert ("critical", "SQLite says SQLITE_NOTADB") == (told(found)["database.reachable"], found.failure)


async def test_a_server_that_is_away_is_told_of_without_the_password(tmp_path: Path) -> None:
    found = await look("postgresql+asyncpg://gate:very-secret-9@127.0.0.1:1/llamagate")

    assert {"database.reachable": "critical"} == told(found)
    assert "very-secret-9" not in str([found, *findings(found, NEWEST, has_issuers=False)])


async def test_a_database_that_is_not_there_is_told_of(postgres: Postgres) -> None:
    found = await look(f"postgresql+asyncpg://postgres@/nowhere?host={postgres.folder}")

    assert "there is no database of that name" == found.failure


async def test_of_postgresql_the_version_is_told_and_whether_others_read_along(new_database: NewDatabase) -> None:
    found = await look(new_database("postgresql"))

    assert found.version is not None
    assert found.version >= 14
    assert (True, False) == (found.is_local, found.has_tls)


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("postgresql+asyncpg://postgres@/x?host=/run/postgresql", True),
        ("postgresql+asyncpg://postgres@localhost/x", True),
        ("postgresql+asyncpg://postgres@127.0.0.1/x", True),
        ("postgresql+asyncpg://postgres@db.lan/x", False),
        ("postgresql+asyncpg://postgres@/x?host=db1.lan&host=db2.lan", False),
    ],
)
def test_what_stays_on_this_machine_is_known(url: str, is_local: bool) -> None:
    assert is_local == looking.is_local(url)


@pytest.mark.parametrize(("ahead", "severity"), [(0, "ok"), (-30, "warning"), (7200, "critical")])
async def test_the_clock_of_postgresql_is_held_against_ours(
    new_database: NewDatabase, ahead: int, severity: str
) -> None:
    _, clock = await looking.look(new_database("postgresql"), now=lambda: now() - timedelta(seconds=ahead))

    assert clock is not None
    assert {"clock.postgresql": severity} == shown(clocks.findings([clock]))
