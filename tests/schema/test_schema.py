import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, Table, inspect
from sqlalchemy.ext.asyncio import AsyncEngine

from proxy import schema
from proxy.auth import Act, Denial, Holder, Key, Kind, Team, User
from proxy.auth import sql as auth_sql
from proxy.errors import StorageFailed
from proxy.ledger import GROUPS, Wanted
from proxy.ledger import sql as ledger_sql
from proxy.schema import database, migrating
from proxy.vocabulary import Limits, Usage
from tests.fakes.book import FakeBook
from tests.fakes.databases import NewDatabase

TABLES = {
    *("alembic_version", "calls", "running", "journals", "quarters", "days", "about"),
    *("keys", "users", "teams", "denials", "acts", "counters"),
}


def declared() -> MetaData:
    together = MetaData()
    for metadata in (auth_sql.metadata, ledger_sql.metadata):
        for table in metadata.tables.values():
            table.to_metadata(together)
    return together


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, declared()))


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An empty database, once of each kind."""
    made = database.engine(database_url)
    try:
        yield made
    finally:
        await made.dispose()


async def test_a_migrated_database_is_what_the_code_declares(engine: AsyncEngine, tmp_path: Path) -> None:
    await schema.upgrade(engine, tmp_path / "lock")
    async with engine.connect() as connection:
        assert [] == await connection.run_sync(differences)
        assert await connection.run_sync(tables) == TABLES


async def test_the_comparison_has_teeth(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert {"keys", "calls"} <= {
            getattr(difference[1], "name", None)
            for difference in await connection.run_sync(differences)
            if isinstance(difference, tuple) and difference[0] == "add_table"
        }


CALL = {
    "id": "c1",
    "at": "2026-03-01T12:00:00.000000+00:00",
    "user": "alice",
    "endpoint": "/api/chat",
    "stream": True,
    "outcome": "served",
    "status": 200,
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "exact": True,
    "total_seconds": 0.5,
    "bytes_in": 1,
    "bytes_out": 2,
    "peer": "",
}
KEY = {"id": "k1", "digest": b"0" * 32, "user": "alice", "plan": "default", "created_at": "2026-03-01T12:00:00Z"}


def at_the_first_schema(connection: Connection) -> None:
    """As the first release left it, with somebody's key and one call."""
    command.upgrade(migrating.config(connection), "0001")
    for name, row in (("keys", KEY), ("calls", CALL)):
        connection.execute(Table(name, MetaData(), autoload_with=connection).insert(), row)


async def test_an_upgrade_keeps_what_was_written_before(engine: AsyncEngine, tmp_path: Path) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(at_the_first_schema)
    await schema.upgrade(engine, tmp_path / "lock")

    (entry,) = await ledger_sql.SqlBook(engine).last(10)
    assert ("c1", "alice", Usage(7, 3)) == (entry.id, entry.user, entry.usage)
    assert ((), False, 0.0) == (entry.changes, entry.prompt_cut, entry.gpu_seconds)
    (key,) = await auth_sql.SqlRegistry(engine).keys()
    assert ("k1", "alice", Limits(), Kind.API_KEY) == (key.id, key.user, key.limits, key.kind)
    assert "live" == key.state(key.created_at)
    async with engine.connect() as connection:
        assert [] == await connection.run_sync(differences)


OLD = {**CALL, "load_seconds": None}
OLD_CALLS = [
    {**OLD, "id": "o1", "at": "2026-03-01T12:59:59.999999+00:00", "load_seconds": 0.25},
    {**OLD, "id": "o2", "at": "2026-03-01T12:45:00.000000+00:00", "exact": False},
    {**OLD, "id": "o3", "at": "2026-03-01T12:44:59.999999+00:00", "user": None, "endpoint": "/api/tags"},
    {**OLD, "id": "o4", "at": "2026-03-02T00:05:00.000000+00:00", "outcome": "refused", "prompt_tokens": 0},
]


async def test_an_upgrade_sums_up_what_was_written_before(engine: AsyncEngine, tmp_path: Path) -> None:
    def before(connection: Connection) -> None:
        command.upgrade(migrating.config(connection), "0003")
        connection.execute(Table("calls", MetaData(), autoload_with=connection).insert(), OLD_CALLS)

    async with engine.begin() as connection:
        await connection.run_sync(before)
    await schema.upgrade(engine, tmp_path / "lock")

    upgraded = ledger_sql.SqlBook(engine)
    for zone in ("UTC", "Asia/Tokyo"):  # By the days that are there, and by the quarters.
        for by in ((), *((group,) for group in GROUPS), ("day", "user"), ("hour", "outcome")):
            wanted = Wanted(by, time_zone=zone)
            assert await FakeBook(*await upgraded.last(9)).sums(wanted) == await upgraded.sums(wanted)
    quarter = datetime(2026, 3, 1, 12, 45, tzinfo=UTC)
    told = await upgraded.sums(Wanted(since=quarter, until=quarter + timedelta(minutes=15)))
    assert [(2, 1, 0.25)] == [(one.calls, one.estimated, one.load_seconds) for one in told]


async def test_an_upgraded_book_goes_on_where_it_was(engine: AsyncEngine, tmp_path: Path) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(at_the_first_schema)
    await schema.upgrade(engine, tmp_path / "lock")
    upgraded = ledger_sql.SqlBook(engine)
    (entry,) = await upgraded.last(1)
    await upgraded.write([replace(entry, id="c2"), replace(entry, user="mallory")])

    assert ["c1", "c2"] == [one.id for one in (await upgraded.since(0))[0]]
    assert [2] == [one.calls for one in await upgraded.sums(Wanted(("day", "user")))]


OLD_KEYS: list[dict[str, object]] = [
    {**KEY, "id": "k1", "created_at": "2026-03-03T12:00:00.000000+00:00", "team": "lab", "plan": "newest"},
    {**KEY, "id": "k2", "created_at": "2026-03-01T12:00:00.000000+00:00", "team": "old", "plan": "oldest"},
    {**KEY, "id": "k3", "created_at": "2026-03-02T12:00:00.000000+00:00", "team": None},
    {**KEY, "id": "k4", "created_at": "2026-03-04T12:00:00.000000+00:00", "team": "lab", "user": "bob"},
    {**KEY, "id": "k5", "created_at": "2026-03-05T12:00:00.000000+00:00", "team": None, "user": "bob"},
    {**KEY, "id": "k6", "created_at": "2026-03-06T12:00:00.000000+00:00", "team": None, "user": "Zoë 'x'"},
    {**KEY, "id": "k7", "created_at": "2026-03-06T12:00:00.000000+00:00", "team": "tie", "user": "Zoë 'x'"},
]


async def test_an_upgrade_puts_on_record_whom_keys_name(engine: AsyncEngine, tmp_path: Path) -> None:
    def before(connection: Connection) -> None:
        command.upgrade(migrating.config(connection), "0004")
        connection.execute(Table("keys", MetaData(), autoload_with=connection).insert(), OLD_KEYS)

    async with engine.begin() as connection:
        await connection.run_sync(before)
    await schema.upgrade(engine, tmp_path / "lock")

    upgraded = auth_sql.SqlRegistry(engine)
    assert [
        User("Zoë 'x'", march(6)),
        User("alice", march(1)),
        User("bob", march(4)),
    ] == await upgraded.users()
    assert [Team("lab", march(3)), Team("old", march(1)), Team("tie", march(6))] == await upgraded.teams()
    holder = await upgraded.find("k2")
    assert holder is not None
    assert ("alice", "old") == (holder.user and holder.user.name, holder.team and holder.team.name)
    assert [] == await upgraded.acts()


def march(day: int) -> datetime:
    return datetime(2026, 3, day, 12, tzinfo=UTC)


async def test_acts_are_numbered_from_one_in_what_was_upgraded(engine: AsyncEngine, tmp_path: Path) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(at_the_first_schema)
    await schema.upgrade(engine, tmp_path / "lock")
    upgraded = auth_sql.SqlRegistry(engine)
    await upgraded.update_user("alice", lambda _: {"note": "x"}, Act(march(1), "root", "box", "user.update"))

    assert [(1, "user.update")] == [(act.number, act.name) for act in await upgraded.acts()]


async def test_whom_an_older_gate_would_let_in_again_is_shut_out_by_an_undone_upgrade(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    await schema.upgrade(engine, tmp_path / "lock")
    newest = auth_sql.SqlRegistry(engine)
    at, gone = march(2), march(3)
    key = Key("k1", "alice", "default", march(1), digest=b"0" * 32, last_used_at=at)
    await newest.add(
        [Act(at, "root", "box", "x")],
        keys=[
            key,
            replace(key, id="k2", suspended_at=at),
            replace(key, id="k3", suspended_at=at, revoked_at=gone),
            replace(key, id="k4", user="bob"),
            replace(key, id="k5", team="lab"),
            replace(key, id="k6", kind=Kind.IDENTITY),
        ],
        users=[User("alice", at), User("bob", at, suspended_at=gone)],
        teams=[Team("lab", at, suspended_at=gone)],
    )
    await newest.deny(Denial("keycloak", "sub", "x", at), Act(at, "root", "box", "x"))
    async with engine.begin() as connection:
        await connection.run_sync(lambda sync: command.downgrade(migrating.config(sync), "0004"))
        assert await connection.run_sync(tables) == TABLES - {"users", "teams", "denials", "acts", "counters"}
    await schema.upgrade(engine, tmp_path / "lock")

    assert [("k1", None), ("k2", at), ("k3", gone), ("k4", gone), ("k5", gone)] == [
        (one.id, one.revoked_at) for one in await newest.keys()
    ]
    assert Holder(key, User("alice", march(1))) == await newest.find("k1")
    assert [] == await newest.acts()


async def test_an_upgrade_can_be_undone_and_done_again(engine: AsyncEngine, tmp_path: Path) -> None:
    await schema.upgrade(engine, tmp_path / "lock")
    async with engine.begin() as connection:
        await connection.run_sync(lambda sync: command.downgrade(migrating.config(sync), "0001"))
    await schema.upgrade(engine, tmp_path / "lock")
    async with engine.connect() as connection:
        assert [] == await connection.run_sync(differences)


async def test_an_upgrade_of_the_newest_changes_nothing(engine: AsyncEngine, tmp_path: Path) -> None:
    await schema.upgrade(engine, tmp_path / "lock")
    await schema.upgrade(engine, tmp_path / "lock")

    async with engine.connect() as connection:
        assert [] == await connection.run_sync(differences)


@pytest.mark.parametrize(
    ("kind", "locks"),
    [
        ("sqlite", ["lock", "lock", "lock"]),
        ("postgresql", ["lock", "lock", "lock"]),
        ("postgresql", ["one", "other", "third"]),  # Machines share no lock file: PostgreSQL's own must do.
    ],
)
async def test_several_can_upgrade_an_empty_database_at_once(
    new_database: NewDatabase, tmp_path: Path, kind: str, locks: list[str]
) -> None:
    url = new_database(kind)
    async with AsyncExitStack() as stack:
        engines = [database.engine(url) for _ in locks]
        for engine in engines:
            stack.push_async_callback(engine.dispose)
        async with asyncio.timeout(30):
            await asyncio.gather(*map(schema.upgrade, engines, [tmp_path / lock for lock in locks]))
        async with engines[0].connect() as connection:
            assert [] == await connection.run_sync(differences)


UPGRADE = """
import asyncio, pathlib, sys
from proxy import schema
from proxy.schema import database, migrating
from proxy.vocabulary import Usage
async def main():
    engine = database.engine(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    await schema.upgrade(engine, pathlib.Path(sys.argv[2]))
    await engine.dispose()
asyncio.run(main())
"""


async def test_two_processes_can_upgrade_an_empty_database_at_once(
    database_url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", UPGRADE, database_url, str(tmp_path / "lock")]
    processes = [await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    async with asyncio.timeout(60):
        await asyncio.gather(*(process.communicate(b"go\n") for process in processes))

    assert [0, 0] == [process.returncode for process in processes]
    async with engine.connect() as connection:
        assert [] == await connection.run_sync(differences)


def test_the_migrations_are_one_chain_of_which_each_can_be_undone() -> None:
    scripts = migrating.scripts()

    assert [schema.NEWEST] == scripts.get_heads()
    assert all(callable(getattr(script.module, "downgrade", None)) for script in scripts.walk_revisions())


async def test_an_upgrade_that_fails_half_way_can_be_done_again(engine: AsyncEngine, tmp_path: Path) -> None:
    async with engine.begin() as connection:  # In the way of the migration's last table.
        await connection.exec_driver_sql("CREATE TABLE calls (x integer)")
    with pytest.raises(StorageFailed) as failed:
        await schema.upgrade(engine, tmp_path / "lock")

    assert "already exists" in failed.value.why
    async with engine.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE calls")
    await schema.upgrade(engine, tmp_path / "lock")
    async with engine.connect() as connection:
        assert await connection.run_sync(tables) == TABLES
