import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from proxy.errors import StorageFailed
from proxy.ledger import GROUPS, Mark, Part, Running, Sum, Wanted
from proxy.ledger.sql import SqlBook
from proxy.schema import database
from proxy.vocabulary import Entry, Level, Outcome
from tests.fakes.databases import KINDS, NewEngine

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ENTRY = Entry("e1", NOON, "/api/chat", Outcome.SERVED, 200)
RUNNING = Running("r1", NOON, "/api/chat")
UNWRITABLE: dict[str, Any] = {"endpoint": None}

# The contract itself is tested in contracts/; this is what is SQL's own.


@pytest.fixture(params=KINDS)
async def engine(request: pytest.FixtureRequest, new_engine: NewEngine) -> AsyncIterator[AsyncEngine]:
    async with new_engine(request.param) as engine:
        yield engine


async def test_a_group_is_written_as_a_whole_or_not_at_all(engine: AsyncEngine) -> None:
    book = SqlBook(engine)
    with pytest.raises(StorageFailed) as raised:
        await book.write([ENTRY, replace(ENTRY, id="canary", **UNWRITABLE), replace(ENTRY, id="e3")])

    assert [] == await book.last(10)
    if engine.dialect.name == "sqlite":  # PostgreSQL quotes the row, see its own settings.
        assert "canary" not in str(raised.value.__cause__)


@pytest.mark.parametrize(
    "part",
    [
        Part("j1", Mark(None, 1), [RUNNING]),  # type: ignore[arg-type]
        Part("j1", Mark(1, 1), [RUNNING, replace(RUNNING, id="r2", **UNWRITABLE)]),
    ],
)
async def test_what_breaks_off_in_the_midst_leaves_nothing(engine: AsyncEngine, part: Part) -> None:
    book = SqlBook(engine)
    await book.write([], Part("j1", Mark(0, 5), [replace(RUNNING, id="e1")]))
    with pytest.raises(StorageFailed):
        await book.write([ENTRY], part)

    assert [] == await book.last(10)
    assert [] == await book.sums(Wanted())
    assert [] == await book.sums(Wanted(("hour",)))
    assert (Mark(0, 5), [replace(RUNNING, id="e1")]) == await book.begun("j1")
    await book.write([ENTRY], Part("j1", Mark(1, 1), [RUNNING]))
    assert [1] == [one.calls for one in await book.sums(Wanted())]


async def test_gates_that_write_the_same_calls_at_once_keep_and_sum_each_once(engine: AsyncEngine) -> None:
    entries = [replace(ENTRY, id=f"e{n}", at=NOON + timedelta(minutes=n), user=f"u{n % 3}") for n in range(40)]
    books = [SqlBook(engine) for _ in range(4)]
    await asyncio.gather(*(book.write(entries[::step]) for book in books for step in (1, -1)))

    assert 40 == len(await books[0].last(100))
    assert [Sum((), 40)] == await books[0].sums(Wanted())
    assert 40 == sum(one.calls for one in await books[0].sums(Wanted(("hour", "user"))))


async def test_a_gate_that_knew_another_zone_sums_up_by_the_days_of_the_new_one(engine: AsyncEngine) -> None:
    one, other = SqlBook(engine), SqlBook(engine)
    late = NOON + timedelta(hours=11, minutes=30)
    await one.write([replace(ENTRY, at=late)])
    await other.days_of("Europe/Berlin")
    await one.write([replace(ENTRY, id="e2", at=late)])

    for book in (one, other):
        assert [Sum(("2026-03-02",), 2)] == await book.sums(Wanted(("day",), time_zone="Europe/Berlin"))
        assert [Sum(("2026-03-01",), 2)] == await book.sums(Wanted(("day",)))


async def test_days_can_be_summed_up_anew_while_others_write(engine: AsyncEngine) -> None:
    writer, owner = SqlBook(engine), SqlBook(engine)
    groups = [[replace(ENTRY, id=f"e{n}-{m}", at=NOON + timedelta(hours=n)) for m in range(5)] for n in range(20)]
    zones = ["Asia/Tokyo", "UTC", "Asia/Kolkata", "Asia/Tokyo"]
    await asyncio.gather(*map(writer.write, groups), *map(owner.days_of, zones))

    for zone in ("Asia/Tokyo", "UTC", "Asia/Kolkata"):
        assert 100 == sum(one.calls for one in await owner.sums(Wanted(("day",), time_zone=zone)))


@pytest.mark.parametrize(
    "url", ["sqlite+aiosqlite:///{}/without-tables.db", "postgresql+asyncpg://u:canary@/x?host={}"]
)
async def test_a_database_that_cannot_be_used_is_our_own_fault_and_tells_no_secret(tmp_path: Path, url: str) -> None:
    engine = database.engine(url.format(tmp_path))
    book = SqlBook(engine)
    everything: list[Awaitable[object]] = [
        book.write([ENTRY]),
        book.write([], Part("j1", Mark(), [RUNNING])),
        book.begun("j1"),
        book.last(1),
        book.since(0),
        book.mark(),
        book.at(NOON),
        anext(book.all(None, None)),
        *(book.sums(Wanted((group,))) for group in GROUPS),
        *(book.spent(level, "alice", NOON) for level in Level),
        book.forget(NOON, 1),
        book.days_of("UTC"),
    ]
    for asked in everything:
        with pytest.raises(StorageFailed) as raised:
            await asked

        assert "canary" not in f"{raised.value} {raised.value.__cause__}"
    await engine.dispose()
