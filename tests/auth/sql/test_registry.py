import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from proxy.auth import Act, Denial, Key, Taken, Team, User
from proxy.auth.sql import SqlRegistry, tables
from proxy.errors import StorageFailed
from proxy.schema import database
from proxy.vocabulary import Limits
from tests.fakes.databases import KINDS, NewEngine

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = Key(id="k1", user="alice", plan="default", created_at=NOON, digest=b"canary" * 5, team="lab")
ACT = Act(NOON, "root", "box", "key.create")

# The contract itself is tested in contracts/; this is what is SQL's own.


@pytest.fixture(params=KINDS)
async def engine(request: pytest.FixtureRequest, new_engine: NewEngine) -> AsyncIterator[AsyncEngine]:
    async with new_engine(request.param) as engine:
        yield engine


@pytest.mark.parametrize(
    "url", ["sqlite+aiosqlite:///{}/without-tables.db", "postgresql+asyncpg://u:canary@/x?host={}"]
)
async def test_a_database_that_cannot_be_used_is_our_own_fault_and_tells_no_secret(tmp_path: Path, url: str) -> None:
    engine = database.engine(url.format(tmp_path))
    store = SqlRegistry(engine)
    changes = (
        store.add([ACT], keys=[KEY]),
        store.update_key("k1", lambda _: {"limits": Limits(1)}, ACT),
        store.update_user("alice", lambda _: {"note": "x"}, ACT),
        store.update_team("lab", lambda _: {"note": "x"}, ACT),
        store.revoke("k1", NOON, ACT),
        store.rotate("k1", KEY.digest, b"canary", NOON, ACT),
        store.deny(Denial("i", "sub", "x", NOON), ACT),
        store.allow("i", "sub", "x", ACT),
        store.record(ACT),
        store.used({("k1", False): NOON}),
    )
    questions = (
        store.find("k1"),
        store.belonging("alice", None),
        store.denials(),
        store.acts(),
        store.newest_act(),
        store.keys(),
        store.users(),
        store.teams(),
    )
    for asked in (*changes, *questions):
        with pytest.raises(StorageFailed) as raised:
            await asked

        assert "canary" not in f"{raised.value} {raised.value.__cause__}"
    await engine.dispose()


async def test_a_clash_of_ids_tells_the_id_and_not_the_digest(engine: AsyncEngine) -> None:
    await SqlRegistry(engine).add([ACT], keys=[KEY])
    with pytest.raises(Taken) as raised:
        await SqlRegistry(engine).add([ACT], keys=[KEY])

    assert "There is a key k1 already." == raised.value.message
    assert "canary" not in f"{raised.value} {raised.value.__cause__}"


async def test_what_the_database_does_not_take_is_changed_in_nothing(engine: AsyncEngine) -> None:
    store = SqlRegistry(engine)
    unwritable: dict[str, Any] = {"plan": None}
    with pytest.raises(StorageFailed):
        await store.add([ACT], users=[User("alice", NOON)], keys=[KEY, replace(KEY, id="k2", **unwritable)])
    await store.add([ACT], keys=[KEY])
    with pytest.raises(StorageFailed):
        await store.update_key("k1", lambda _: unwritable, ACT)

    assert ([KEY], []) == (await store.keys(), await store.users())
    assert [1] == [act.number for act in await store.acts()]


async def test_times_are_written_so_that_they_sort_as_text(engine: AsyncEngine) -> None:
    await SqlRegistry(engine).add([ACT], keys=[KEY])
    async with engine.connect() as connection:
        written = (await connection.execute(text("SELECT created_at FROM keys"))).scalar_one()

    assert "2026-03-01T12:00:00.000000+00:00" == written


async def test_whose_a_key_is_takes_one_statement(engine: AsyncEngine) -> None:
    store = SqlRegistry(engine)
    await store.add([ACT], keys=[KEY], users=[User("alice", NOON)], teams=[Team("lab", NOON)])
    said: list[str] = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *told: said.append(told[2]))
    await store.find("k1")
    await store.belonging("alice", None)

    assert 2 == sum(one.startswith("SELECT") for one in said)


async def test_nobody_who_follows_the_acts_misses_one_of_many_who_act_at_once(engine: AsyncEngine) -> None:
    store, writers, each = SqlRegistry(engine), 6, 8
    seen: list[int] = []

    async def follow() -> None:
        while len(seen) < writers * each:
            seen.extend(act.number for act in await store.acts(seen[-1] if seen else 0))

    async def act(writer: int) -> None:
        own = SqlRegistry(engine)
        for number in range(each):
            name = f"u{writer}-{number}"
            await own.add([ACT], users=[User(name, NOON)])

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(follow())
        for writer in range(writers):
            group.create_task(act(writer))

    assert list(range(1, writers * each + 1)) == seen


async def test_of_many_who_take_one_name_at_once_one_gets_it(engine: AsyncEngine) -> None:
    told = await asyncio.gather(
        *(SqlRegistry(engine).add([ACT], users=[User("alice", NOON, note=str(one))]) for one in range(8)),
        return_exceptions=True,
    )

    assert [Taken] * 7 == [type(one) for one in told if one is not None]
    assert 1 == len(await SqlRegistry(engine).users()) == await SqlRegistry(engine).newest_act()


async def test_of_many_who_rotate_one_secret_at_once_one_does(engine: AsyncEngine) -> None:
    store = SqlRegistry(engine)
    await store.add([ACT], keys=[KEY])
    new = [bytes([one]) * 32 for one in range(8)]
    told = await asyncio.gather(*(store.rotate("k1", KEY.digest, one, NOON, ACT) for one in new))

    (winner,) = [one for one in told if one is not None]
    assert [winner.digest] == [key.digest for key in await store.keys()]
    assert 2 == await store.newest_act()


async def test_many_gates_can_tell_at_once_when_the_same_keys_were_used(engine: AsyncEngine) -> None:
    store = SqlRegistry(engine)
    ids = [f"k{number}" for number in range(200)]
    await store.add([ACT], keys=[replace(KEY, id=one) for one in ids])
    orders = [ids, ids[::-1]] * 4
    async with asyncio.timeout(60):
        await asyncio.gather(
            *(
                store.used({(one, place % 3 == 0): NOON + timedelta(seconds=place) for one in order})
                for place, order in enumerate(orders)
            ),
            store.update_key("k7", lambda _: {"note": "x"}, ACT),
        )

    expected = (NOON + timedelta(seconds=7), NOON + timedelta(seconds=6))
    assert {expected} == {(key.last_used_at, key.former_used_at) for key in await store.keys()}
    assert ["k7"] == [key.id for key in await store.keys() if key.note == "x"]


async def test_gates_in_other_processes_lose_nothing_of_what_the_others_change(engine: AsyncEngine) -> None:
    """Of whom each has an engine, and connections, of its own."""
    names = [one.name for one in fields(Limits)]
    engines = [database.engine(engine.url.render_as_string(hide_password=False)) for _ in names]

    def one(name: str) -> Callable[[Key], dict[str, Limits]]:
        return lambda key: {"limits": replace(key.limits, **{name: 7})}

    await SqlRegistry(engine).add([ACT], keys=[KEY])
    async with asyncio.timeout(60):
        await asyncio.gather(
            *(SqlRegistry(its).update_key("k1", one(name), ACT) for its, name in zip(engines, names, strict=True))
        )
    for its in engines:
        await its.dispose()

    assert [replace(KEY, limits=Limits(*(7 for _ in names)))] == await SqlRegistry(engine).keys()


@pytest.mark.parametrize("spoilt", [{"details": "{"}, {"at": "soon"}])
async def test_an_act_that_somebody_has_spoilt_is_our_own_fault_and_no_accident(
    engine: AsyncEngine, spoilt: dict[str, str]
) -> None:
    """What follows the trail has to go on, and to say that it hears nothing."""
    await SqlRegistry(engine).record(ACT)
    async with engine.begin() as connection:
        await connection.execute(update(tables.acts).values(spoilt))
    with pytest.raises(StorageFailed):
        await SqlRegistry(engine).acts()
