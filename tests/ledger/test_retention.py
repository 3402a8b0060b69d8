import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from proxy.errors import StorageFailed
from proxy.ledger import Wanted
from proxy.ledger.retention import AT_ONCE, BETWEEN_SECONDS, LOOK_SECONDS, forgetting
from proxy.vocabulary import Entry, Outcome
from tests.fakes.book import FakeBook

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ENTRY = Entry("e", NOON, "/api/chat", Outcome.SERVED, 200)


class Pauses:
    """Goes on at once until it has been asked so often, and then ends whoever asks."""

    def __init__(self, count: int) -> None:
        self.asked: list[float] = []
        self._count = count

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        if len(self.asked) >= self._count:
            raise asyncio.CancelledError


async def test_old_entries_are_forgotten_a_few_at_a_time_and_their_sums_stay() -> None:
    book, pauses = FakeBook(), Pauses(4)
    old = [replace(ENTRY, id=f"o{number}", at=NOON - timedelta(days=8)) for number in range(2 * AT_ONCE + 1)]
    await book.write([*old, replace(ENTRY, id="new", at=NOON - timedelta(days=7))])
    with pytest.raises(asyncio.CancelledError):
        await forgetting(book, 7 * 86_400, lambda: NOON, pauses)

    assert ["new"] == [entry.id for entry in await book.last(10_000)]
    assert [BETWEEN_SECONDS] * 3 + [LOOK_SECONDS] == pauses.asked
    assert [2 * AT_ONCE + 2] == [total.calls for total in await book.sums(Wanted())]


async def test_where_nothing_is_new_it_is_the_clock_that_is_wrong() -> None:
    book, pauses = FakeBook(), Pauses(1)
    await book.write([ENTRY])
    with pytest.raises(asyncio.CancelledError):
        await forgetting(book, 60, lambda: NOON + timedelta(days=400), pauses)

    assert ([ENTRY], [LOOK_SECONDS]) == (await book.last(10), pauses.asked)


class Slow(FakeBook):
    """Has begun to forget, and does so when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.has_ended = False

    async def forget(self, before: datetime, most: int) -> int:
        self.has_begun.set()
        await self.may_end.wait()
        self.has_ended = True
        return 0


async def test_what_has_begun_to_be_forgotten_is_forgotten_before_the_end() -> None:
    book = Slow()
    going_on = asyncio.create_task(forgetting(book, 60, lambda: NOON, Pauses(1)))
    async with asyncio.timeout(20):
        await book.has_begun.wait()
        going_on.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        book.may_end.set()
        await asyncio.wait([going_on])

    assert (True, True) == (book.has_ended, going_on.cancelled())


class Failing(FakeBook):
    async def forget(self, before: datetime, most: int) -> int:
        raise StorageFailed from OSError("gone")


async def test_a_book_that_fails_is_asked_again_later(caplog: pytest.LogCaptureFixture) -> None:
    pauses = Pauses(2)
    with pytest.raises(asyncio.CancelledError):
        await forgetting(Failing(), 60, lambda: NOON, pauses)

    assert [LOOK_SECONDS] * 2 == pauses.asked
    assert ["retention_failed"] * 2 == [record.message for record in caplog.records if record.levelno > logging.INFO]
