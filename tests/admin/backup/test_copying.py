import asyncio
import gzip
import hashlib
import io
import json
import stat
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, MetaData, Table, func, insert, inspect, select, text

from proxy import schema
from proxy.admin import control
from proxy.admin.backup import Copied
from proxy.admin.backup.copying import MANIFEST, Home, back_up, restore
from proxy.admin.refusals import NotDone
from proxy.auth import Act, Denial, Holder, Key, Team, User, api_keys, pepper
from proxy.auth import sql as auth_sql
from proxy.auth.sql import SqlRegistry
from proxy.errors import Misconfigured
from proxy.ledger import sql as ledger_sql
from proxy.schema import database, migrating
from proxy.schema.copying import Copying
from proxy.vocabulary import Limits
from tests.fakes.databases import KINDS, NewDatabase

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PEPPER = bytes(range(32))
ACT = Act(NOON, "root", "box", "key.create", "key:k1", {"plan": "default"})
CALLS = 1203
"""More than two pages."""

Rows = dict[str, list[dict[str, Any]]]


class Place:
    """A gate's database, and its state directory."""

    def __init__(self, url: str, state_dir: Path, *, tells_pepper: bool = False) -> None:
        state_dir.mkdir()
        self.engine = database.engine(url)
        self.database = Copying(self.engine, state_dir / "schema.lock")
        self.home = Home(state_dir, tells_pepper)

    @property
    def pepper(self) -> Path:
        return self.home.state_dir / pepper.NAME

    async def back_up(self, file: Path, *, force: bool = False) -> Copied:
        return await back_up(file, self.database, self.home, force=force, version="1.2.3", now=NOON)

    async def restore(self, file: Path) -> Copied:
        return await restore(file, self.database, self.home)

    async def rows(self) -> Rows:
        """Everything in it, as the database has it."""
        async with self.engine.connect() as connection:
            return await connection.run_sync(everything)

    async def number_of(self, call: Mapping[str, Any]) -> int:
        """The one that the database gives to a further call."""
        async with self.engine.begin() as connection:
            there = await connection.run_sync(reflected, "calls")
            await connection.execute(insert(there), [dict(call)])
            return int(await connection.scalar(select(func.max(there.c.seq))) or 0)


NewPlace = Callable[..., AbstractAsyncContextManager[Place]]


@pytest.fixture
def new_place(new_database: NewDatabase, tmp_path: Path) -> NewPlace:
    @asynccontextmanager
    async def make(kind: str, name: str, *, tells_pepper: bool = False) -> AsyncIterator[Place]:
        place = Place(new_database(kind), tmp_path / name, tells_pepper=tells_pepper)
        try:
            yield place
        finally:
            await place.engine.dispose()

    return make


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kept.tar.gz"


def reflected(connection: Connection, name: str) -> Table:
    return Table(name, MetaData(), autoload_with=connection)


def everything(connection: Connection) -> Rows:
    found = {}
    for name in sorted(inspect(connection).get_table_names()):
        there = reflected(connection, name)
        rows = [dict(row) for row in connection.execute(select(there)).mappings()]
        found[name] = sorted(rows, key=lambda row: [str(value) for value in row.values()])
    return found


def at(connection: Connection, revision: str) -> None:
    command.upgrade(migrating.config(connection), revision)


def call(number: int) -> dict[str, Any]:
    return {
        "id": f"c{number}",
        "at": f"2026-03-01T12:00:00.{number:06}+00:00",
        "user": ("alice", "Zoë\n\u2028", None)[number % 3],
        "model": "gemma3:latest",
        "endpoint": "POST /api/chat",
        "stream": number % 2 == 0,
        "outcome": "served",
        "status": 200,
        "prompt_tokens": 2**40 + number,
        "completion_tokens": 3,
        "exact": True,
        "load_seconds": None if number % 2 else 1 / 3,
        "total_seconds": 0.1 + 0.2,
        "bytes_in": 1,
        "bytes_out": 2,
        "peer": "",
    }


def key() -> Key:
    return Key(
        id="k1",
        digest=api_keys.digest("sk-lg_secret", PEPPER),
        user="alice",
        plan="default",
        models=("gemma3:*",),
        created_at=NOON,
        limits=Limits(requests_per_minute=30, gpu_seconds_per_day=1.5),
        former_digest=api_keys.digest("sk-lg_former", PEPPER),
        former_until=NOON,
    )


def fill(connection: Connection, calls: int) -> None:
    """Calls, of which the newest were forgotten, and something in each of the book's other tables."""
    there = reflected(connection, "calls")
    connection.execute(insert(there), [call(number) for number in range(calls + 2)])
    connection.execute(there.delete().where(there.c.seq > calls))
    for name, table in ledger_sql.metadata.tables.items():
        if name != "calls" and name in inspect(connection).get_table_names():
            connection.execute(table.delete())
            values = {column.name: sample(column.type.python_type) for column in table.columns if not column.nullable}
            connection.execute(insert(table), values)


async def put_on_record(registry: SqlRegistry) -> None:
    """Something in each of the registry's tables, and three acts."""
    await registry.add([ACT], keys=[key()], users=[User("alice", NOON, "lab")], teams=[Team("lab", NOON)])
    await registry.update_user("alice", lambda _: {"plan": "default"}, replace(ACT, name="user.update"))
    await registry.deny(Denial("keycloak", "sub", "x", NOON), replace(ACT, name="token.deny"))


def put_a_key(connection: Connection) -> None:
    """As a gate did that had only keys."""
    row = {"id": "k1", "digest": key().digest, "user": "alice", "plan": "default", "team": "lab"}
    connection.execute(insert(reflected(connection, "keys")), {**row, "created_at": "2026-03-01T12:00:00.000000+00:00"})


def sample(kind: type) -> object:
    return {str: "2026-03-01", int: 7, float: 0.25, bool: True}[kind]


async def lived_in(place: Place, revision: str = "head", calls: int = CALLS) -> None:
    async with schema.changing(place.engine) as connection:
        await connection.run_sync(at, revision)
        await connection.run_sync(fill, calls)
        if revision != "head":
            await connection.run_sync(put_a_key)
    pepper.kept_in(place.home.state_dir, lambda _: PEPPER)
    if revision == "head":
        await put_on_record(SqlRegistry(place.engine))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A backup of a few calls."""
    folder = tmp_path_factory.mktemp("made")

    async def make() -> None:
        place = Place(f"sqlite+aiosqlite:///{folder}/old.db", folder / "old")
        try:
            await lived_in(place, calls=3)
            await place.back_up(folder / "kept.tar.gz")
        finally:
            await place.engine.dispose()

    asyncio.run(make())
    return (folder / "kept.tar.gz").read_bytes()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def is_there(path: Path) -> bool:
    return path.exists()


def put(path: Path, text: bytes) -> Path:
    path.write_bytes(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("there", KINDS)
@pytest.mark.parametrize("here", KINDS)
async def test_what_is_brought_back_is_what_was_there(new_place: NewPlace, file: Path, here: str, there: str) -> None:
    async with new_place(here, "old") as old, new_place(there, "new") as new:
        await lived_in(old)
        before = await old.rows()
        written = await old.back_up(file)

        assert (1, CALLS, "backup") == (written.rows["keys"], written.rows["calls"], written.pepper)
        assert 0o600 == mode(file)
        assert written == await new.restore(file)
        assert before == await new.rows()
        assert before == await old.rows()
        assert CALLS + 3 == await new.number_of(call(CALLS + 10))  # Those that were forgotten keep their numbers.


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_that_was_issued_before_works_afterwards(new_place: NewPlace, file: Path, kind: str) -> None:
    async with new_place("sqlite", "old") as old, new_place(kind, "new") as new:
        await lived_in(old)
        await old.back_up(file)
        await new.restore(file)

        found = await SqlRegistry(new.engine).find("k1")
        assert found is not None
        assert Holder(key(), User("alice", NOON, "lab", "default")) == found
        assert (key().digest, key().former_digest) == (found.key.digest, found.key.former_digest)
        assert PEPPER == pepper.kept_in(new.home.state_dir, lambda _: b"")
        assert 0o600 == mode(new.pepper)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_acts_go_on_where_they_were(new_place: NewPlace, file: Path, kind: str) -> None:
    async with new_place("sqlite", "old") as old, new_place(kind, "new") as new:
        await lived_in(old, calls=1)
        await old.back_up(file)
        await new.restore(file)
        registry = SqlRegistry(new.engine)
        assert 3 == await registry.newest_act()
        await registry.revoke("k1", NOON, replace(ACT, name="key.revoke"))

        assert [(1, "key.create"), (2, "user.update"), (3, "token.deny"), (4, "key.revoke")] == [
            (act.number, act.name) for act in await registry.acts()
        ]


@pytest.mark.parametrize("here", KINDS)
@pytest.mark.parametrize("there", KINDS)
@pytest.mark.parametrize("revision", ["0001", "0004"])
async def test_a_backup_of_a_gate_that_had_only_keys_has_whom_they_name(
    new_place: NewPlace, file: Path, here: str, there: str, revision: str
) -> None:
    async with new_place(here, "old") as old, new_place(there, "new") as new:
        await lived_in(old, revision, 10)
        assert revision == (await old.back_up(file)).revision
        await new.restore(file)
        registry = SqlRegistry(new.engine)
        await registry.record(ACT)

        assert [User("alice", NOON)] == await registry.users()
        assert [Team("lab", NOON)] == await registry.teams()
        assert [1] == [act.number for act in await registry.acts()]


@pytest.mark.parametrize("here", KINDS)
@pytest.mark.parametrize("there", KINDS)
async def test_a_backup_of_an_older_schema_comes_back_at_the_newest(
    new_place: NewPlace, tmp_path: Path, file: Path, here: str, there: str
) -> None:
    async with new_place(here, "old") as old, new_place(there, "new") as new:
        await lived_in(old, "0003", 10)
        assert "0003" == (await old.back_up(file)).revision
        await new.restore(file)
        await schema.upgrade(old.engine, tmp_path / "lock")  # What an upgrade on the spot makes of it.

        assert await old.rows() == await new.rows()
        # SQLite did not remember then which numbers it had given.
        expected = {"sqlite": 11, "postgresql": 13}[here]
        assert (expected, expected) == (await old.number_of(call(20)), await new.number_of(call(20)))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_gate_that_was_started_once_and_never_used_can_be_filled(
    new_place: NewPlace, tmp_path: Path, file: Path, kind: str
) -> None:
    async with new_place("sqlite", "old") as old, new_place(kind, "new") as new:
        await lived_in(old, calls=10)
        await old.back_up(file)
        await schema.upgrade(new.engine, tmp_path / "lock")
        pepper.kept_in(new.home.state_dir, lambda _: PEPPER)
        await new.restore(file)

        assert await old.rows() == await new.rows()


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_ever_overwritten(new_place: NewPlace, file: Path, kind: str) -> None:
    async with new_place(kind, "old") as old:
        await lived_in(old, calls=10)
        await old.back_up(file)
        before = await old.rows()
        with pytest.raises(NotDone, match="not empty: there is something in its table keys"):
            await old.restore(file)

        assert before == await old.rows()


async def test_a_key_alone_is_enough_to_be_no_empty_database(new_place: NewPlace, tmp_path: Path, file: Path) -> None:
    async with new_place("sqlite", "old") as old, new_place("sqlite", "new") as new:
        await lived_in(old, calls=1)
        await old.back_up(file)
        await schema.upgrade(new.engine, tmp_path / "lock")
        await SqlRegistry(new.engine).add([ACT], keys=[key()])
        with pytest.raises(NotDone, match="not empty"):
            await new.restore(file)

        assert not is_there(new.pepper)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_backup_is_of_one_moment_while_others_write(new_place: NewPlace, file: Path, kind: str) -> None:
    async with new_place(kind, "old") as old:
        await lived_in(old, calls=10)
        async with old.database.snapshot() as snapshot:
            await old.number_of(call(100))
            await SqlRegistry(old.engine).revoke("k1", NOON, ACT)
            counted = {name: [row async for page in snapshot.rows(name) for row in page] for name in ("keys", "calls")}

        assert 10 == len(counted["calls"])
        assert [None] == [row["revoked_at"] for row in counted["keys"]]


async def test_where_there_is_nothing_there_is_no_backup(new_place: NewPlace, file: Path) -> None:
    async with new_place("sqlite", "old") as old:
        with pytest.raises(NotDone, match="nothing to back up"):
            await old.back_up(file)

        assert not is_there(file)


async def test_a_backup_that_is_there_is_replaced_only_when_told_to(new_place: NewPlace, file: Path) -> None:
    async with new_place("sqlite", "old") as old:
        await lived_in(old, calls=1)
        await old.back_up(file)
        with pytest.raises(NotDone, match="--force"):
            await old.back_up(file)
        await old.back_up(file, force=True)


async def test_a_database_of_a_newer_gate_is_left_alone(new_place: NewPlace, file: Path) -> None:
    async with new_place("sqlite", "old") as old:
        await lived_in(old, calls=1)
        async with old.engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(NotDone, match="newer gate"):
            await old.back_up(file)


async def test_a_database_that_does_not_answer_is_told_of(tmp_path: Path, file: Path, made: bytes) -> None:
    place = Place(f"postgresql+asyncpg://postgres@/x?host={tmp_path}", tmp_path / "state")
    with pytest.raises(NotDone, match="The database cannot be read: FileNotFoundError"):
        await place.back_up(file)
    put(file, made)
    with pytest.raises(NotDone, match="did not take it, and nothing was changed: FileNotFoundError"):
        await place.restore(file)

    assert not is_there(place.pepper)


# The pepper.


async def test_another_pepper_is_not_overwritten(new_place: NewPlace, file: Path) -> None:
    async with new_place("sqlite", "old") as old, new_place("sqlite", "new") as new:
        await lived_in(old, calls=1)
        await old.back_up(file)
        pepper.kept_in(new.home.state_dir, lambda _: b"x" * 32)
        with pytest.raises(NotDone, match="holds another pepper"):
            await new.restore(file)

        assert b"x" * 32 == pepper.kept_in(new.home.state_dir, lambda _: b"")
        assert {} == await new.rows()


async def test_a_pepper_of_the_settings_is_not_in_it_and_has_to_be_told_again(new_place: NewPlace, file: Path) -> None:
    async with (
        new_place("sqlite", "old", tells_pepper=True) as old,
        new_place("sqlite", "new") as new,
        new_place("sqlite", "told", tells_pepper=True) as told,
    ):
        await lived_in(old, calls=1)
        assert "settings" == (await old.back_up(file)).pepper
        assert PEPPER.hex().encode() not in gzip.decompress(contents(file))
        with pytest.raises(NotDone, match="Tell it to this one too"):
            await new.restore(file)
        await told.restore(file)

        assert {} == await new.rows()
        assert await old.rows() == await told.rows()


async def test_settings_that_tell_another_pepper_are_a_mistake(new_place: NewPlace, file: Path) -> None:
    async with new_place("sqlite", "old") as old, new_place("sqlite", "new", tells_pepper=True) as new:
        await lived_in(old, calls=1)
        await old.back_up(file)
        with pytest.raises(NotDone, match="the settings tell another"):
            await new.restore(file)


async def test_a_gate_that_never_had_a_pepper_can_be_copied(new_place: NewPlace, tmp_path: Path, file: Path) -> None:
    async with new_place("sqlite", "old") as old, new_place("sqlite", "new") as new:
        await schema.upgrade(old.engine, tmp_path / "lock")
        assert "nowhere" == (await old.back_up(file)).pepper
        await new.restore(file)

        assert not is_there(new.pepper)
        assert await old.rows() == await new.rows()


async def test_a_pepper_that_makes_no_sense_is_not_copied(new_place: NewPlace, file: Path) -> None:
    async with new_place("sqlite", "old") as old:
        await lived_in(old, calls=1)
        put(old.pepper, b"salt")
        with pytest.raises(Misconfigured, match="does not hold a pepper"):
            await old.back_up(file)

        assert not is_there(file)


# A gate that runs.


async def test_a_gate_that_runs_is_not_restored_under(new_place: NewPlace, file: Path) -> None:
    async with new_place("sqlite", "old") as old, new_place("sqlite", "new") as new:
        await lived_in(old, calls=1)
        async with control.Control(control.path_in(old.home.state_dir), {}).listening():
            await old.back_up(file)
        async with control.Control(control.path_in(new.home.state_dir), {}).listening():
            with pytest.raises(NotDone, match="The gate runs"):
                await new.restore(file)
        await new.restore(file)


# Archives that somebody made or broke.


def contents(path: Path) -> bytes:
    return path.read_bytes()


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as opened:
        return {one.name: (opened.extractfile(one) or io.BytesIO()).read() for one in opened}


def remade(path: Path, parts: Mapping[str, bytes], *, honest: bool = False) -> None:
    """The archive with these members; an honest one says of itself what is true."""
    if honest:
        told = json.loads(parts[MANIFEST])
        for name, part in told["tables"].items():
            text = parts.get(f"{name}.jsonl", b"")
            part.update(rows=text.count(b"\n"), sha256=hashlib.sha256(text).hexdigest())
        parts = {**parts, MANIFEST: json.dumps(told).encode()}
    with gzip.open(path, "wb") as made:
        for name, text in parts.items():
            head = tarfile.TarInfo(name)
            head.size = len(text)
            made.write(head.tobuf(tarfile.USTAR_FORMAT) + text + bytes(-len(text) % 512))
        made.write(bytes(1024))


def changed(**told: Any) -> Callable[[dict[str, bytes]], None]:
    def change(parts: dict[str, bytes]) -> None:
        parts[MANIFEST] = json.dumps({**json.loads(parts[MANIFEST]), **told}).encode()

    return change


def without(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(parts: dict[str, bytes]) -> None:
        del parts[name]

    return change


def with_(name: str, text: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(parts: dict[str, bytes]) -> None:
        parts[name] = text

    return change


def row(**told: Any) -> Callable[[dict[str, bytes]], None]:
    """One in which the only key has these members."""

    def change(parts: dict[str, bytes]) -> None:
        one = {**json.loads(parts["keys.jsonl"]), **told}
        parts["keys.jsonl"] = (
            json.dumps({name: value for name, value in one.items() if value != "gone"}).encode() + b"\n"
        )

    return change


def without_a_table(parts: dict[str, bytes]) -> None:
    del parts["calls.jsonl"]
    told = json.loads(parts[MANIFEST])
    del told["tables"]["calls"]
    parts[MANIFEST] = json.dumps(told).encode()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (without(MANIFEST), "does not say what it holds"),
        (without("calls.jsonl"), "does not hold what it says"),
        (without("pepper"), "does not hold what it says"),
        (without_a_table, "not all the tables"),
        (with_("calls.jsonl", b""), "calls.jsonl is not what was written"),
        (with_("pepper", b"00" * 32 + b"\n"), "pepper is not what was written"),
        (with_("pepper", b"0" * 1000), "too large"),
        (with_("../../etc/passwd", b""), "no backup has"),
        (with_("alembic_version.jsonl", b""), "no backup has"),
        (with_(".jsonl", b""), "no backup has"),
        (with_(MANIFEST, b"[" * 100_000), "makes no sense"),
        (with_(MANIFEST, b"{}"), "makes no sense"),
        (with_(MANIFEST, b"\xff"), "makes no sense"),
        (with_(MANIFEST, b" " * 2**21), "too large"),
        (changed(format=2), "newer gate"),
        (changed(format="1"), "makes no sense"),
        (changed(revision="9999"), "newer gate"),
        (changed(revision="head"), "newer gate"),
        (changed(revision="-1; DROP"), "makes no sense"),
        (changed(pepper={"in": "nowhere", "sha256": None}), "does not hold what it says"),
        (changed(tables={"keys": {"rows": 1, "sha256": "", "last_number": -1}}), "makes no sense"),
        (changed(tables={"keys": []}), "makes no sense"),
    ],
)
async def test_an_archive_that_is_not_what_it_says_is_refused_and_nothing_changed(
    new_place: NewPlace, file: Path, made: bytes, change: Callable[[dict[str, bytes]], None], why: str
) -> None:
    async with new_place("sqlite", "new") as new:
        put(file, made)
        parts = members(file)
        change(parts)
        remade(file, parts)
        with pytest.raises(NotDone, match=why):
            await new.restore(file)

        assert {} == await new.rows()
        assert not is_there(new.pepper)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (row(more=1), "other columns"),
        (row(user="gone"), "other columns"),
        (row(user=None), "a user that cannot be"),
        (row(user=["a"]), "no row"),
        (row(user=7), "a user that cannot be"),
        (row(user="\ud800"), "a user that cannot be"),
        (row(digest="abc"), "a digest that cannot be"),
        (row(digest={"base64": "?"}), "no row"),
        (row(digest={"base64": "", "x": 1}), "no row"),
        (row(tokens_per_minute=2**63), "a tokens_per_minute that cannot be"),
        (row(tokens_per_minute=True), "a tokens_per_minute that cannot be"),
        (row(gpu_seconds_per_day="1"), "a gpu_seconds_per_day that cannot be"),
        (with_("keys.jsonl", b"[]\n"), "no row"),
        (with_("keys.jsonl", b"{\n"), "no row"),
        (with_("keys.jsonl", b"\n"), "no row"),
        (with_("keys.jsonl", b"1" * 5000 + b"\n"), "no row"),
    ],
)
async def test_rows_that_cannot_be_are_refused_and_nothing_changed(
    new_place: NewPlace, file: Path, made: bytes, change: Callable[[dict[str, bytes]], None], why: str
) -> None:
    async with new_place("sqlite", "new") as new:
        put(file, made)
        parts = members(file)
        change(parts)
        remade(file, parts, honest=True)
        with pytest.raises(NotDone, match=why):
            await new.restore(file)

        assert {} == await new.rows()
        assert not is_there(new.pepper)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_the_database_does_not_take_leaves_nothing_behind(
    new_place: NewPlace, file: Path, made: bytes, kind: str
) -> None:
    async with new_place(kind, "new") as new:
        put(file, made)
        parts = members(file)
        parts["keys.jsonl"] *= 2
        remade(file, parts, honest=True)
        with pytest.raises(NotDone, match="did not take it, and nothing was changed"):
            await new.restore(file)

        assert {} == await new.rows()
        assert not is_there(new.pepper)


async def test_an_archive_that_is_cut_off_is_refused_and_nothing_changed(
    new_place: NewPlace, file: Path, made: bytes
) -> None:
    async with new_place("sqlite", "new") as new:
        for end in range(0, len(made), 97):
            with pytest.raises(NotDone, match="damaged"):
                await new.restore(put(file, made[:end]))

        assert {} == await new.rows()


def test_every_table_that_is_declared_is_copied() -> None:
    assert {*auth_sql.metadata.tables, *ledger_sql.metadata.tables} == set(Copying.tables)
