from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from proxy.ledger.sql.one_hop import OneHop
from proxy.ledger.sql.writing import Writing
from tests.fakes.databases import NewEngine


@pytest.fixture
async def engine(new_engine: NewEngine) -> AsyncIterator[AsyncEngine]:
    async with new_engine("sqlite") as engine:
        yield engine


def asking(found: list[Any], *statements: str) -> Writing:
    for statement in statements:
        answer = yield statement, ()
        found += [answer]


async def test_its_connections_wait_and_write_as_those_of_the_other_engine_do(engine: AsyncEngine) -> None:
    found: list[Any] = []
    names = ("busy_timeout", "synchronous", "journal_mode")
    await OneHop(engine).do(asking(found, *(f"PRAGMA {name}" for name in names)))
    async with engine.connect() as connection:
        others = [(await connection.execute(text(f"PRAGMA {name}"))).all() for name in names]

    assert others == found


async def test_all_of_it_is_kept_or_nothing(engine: AsyncEngine) -> None:
    hop, kept = OneHop(engine), "INSERT INTO about VALUES ('a', 'b')"
    with pytest.raises(SQLAlchemyError):
        await hop.do(asking([], kept, "INSERT INTO nowhere VALUES (1)"))
    found: list[Any] = []
    count = "SELECT count(*) FROM about"
    await hop.do(asking(found, count, kept, count))
    await hop.do(asking(found, count))

    assert [1, 2, 2] == [rows[0][0] for rows in found if rows]


async def test_it_goes_with_the_other_engine_and_comes_again(engine: AsyncEngine) -> None:
    hop, found = OneHop(engine), list[Any]()
    await hop.do(asking(found, "SELECT 1"))
    await engine.dispose()
    await hop.do(asking(found, "SELECT 2"))

    assert [[(1,)], [(2,)]] == found
