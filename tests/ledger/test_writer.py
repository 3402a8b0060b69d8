import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from proxy.errors import StorageFailed
from proxy.ledger.writer import LARGEST_GROUP, PATIENCE_SECONDS, GroupWriter
from proxy.vocabulary import Entry, Outcome
from tests.fakes.book import FakeBook

ENTRY = Entry("e", datetime(2026, 3, 1, tzinfo=UTC), "/api/chat", Outcome.SERVED, 200)


def entries(count: int, first: int = 0) -> list[Entry]:
    return [replace(ENTRY, id=f"e{number}") for number in range(first, first + count)]


class Groups(FakeBook):
    """Remembers in which groups it was written, fails as often as it is told to, and stops at a gate."""

    def __init__(self, fails: float = 0) -> None:
        super().__init__()
        self.fails = fails
        self.groups: list[list[str]] = []
        self.writing = asyncio.Event()
        self.may_write = asyncio.Event()
        self.may_write.set()

    async def write(self, entries: Sequence[Entry]) -> None:
        self.groups.append([entry.id for entry in entries])
        self.writing.set()
        await self.may_write.wait()
        if self.fails > 0:
            self.fails -= 1
            raise StorageFailed from OSError("disk full")
        await super().write(entries)


@asynccontextmanager
async def running(writer: GroupWriter) -> AsyncIterator[None]:
    task = asyncio.create_task(writer.run())
    try:
        yield
    finally:
        writer.close()
        async with asyncio.timeout(5):
            await task


async def test_an_entry_is_in_the_book_when_keep_returns() -> None:
    book = Groups()
    writer = GroupWriter(book)
    async with running(writer):
        await writer.keep(ENTRY)

        assert [ENTRY] == await book.last(10)
        assert 0 == writer.waiting


async def test_what_comes_while_a_group_is_written_is_the_next_group() -> None:
    book = Groups()
    book.may_write.clear()
    writer = GroupWriter(book)
    async with running(writer), asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.keep(ENTRY))
        await book.writing.wait()
        for entry in entries(3):
            tasks.create_task(writer.keep(entry))
        await asyncio.sleep(0)
        book.may_write.set()

    assert [["e"], ["e0", "e1", "e2"]] == book.groups


async def test_a_group_has_an_end_and_the_order_is_kept() -> None:
    book = Groups()
    writer = GroupWriter(book)
    async with asyncio.TaskGroup() as tasks:
        for entry in entries(LARGEST_GROUP + 1):
            tasks.create_task(writer.keep(entry))
        await asyncio.sleep(0)

        assert LARGEST_GROUP + 1 == writer.waiting
        async with running(writer):
            pass

    assert [LARGEST_GROUP, 1] == [len(group) for group in book.groups]
    assert entries(LARGEST_GROUP + 1) == await book.last(1000)


async def test_what_could_not_be_written_is_tried_again_in_order_after_longer_and_longer_pauses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    book, pauses = Groups(fails=8), []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    writer = GroupWriter(book, pause=pause)
    async with running(writer):
        await asyncio.gather(*(writer.keep(entry) for entry in entries(3)))

    assert [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0] == pytest.approx(pauses)
    assert entries(3) == await book.last(10)
    assert [("ledger_not_written", 3, "OSError: disk full")] * 8 == [
        (record.message, vars(record)["waiting"], vars(record)["error"]) for record in caplog.records
    ]
    assert {logging.ERROR} == {record.levelno for record in caplog.records}


async def test_after_a_success_the_pauses_begin_anew() -> None:
    book, pauses = Groups(fails=2), []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    writer = GroupWriter(book, pause=pause)
    async with running(writer):
        await writer.keep(ENTRY)
        book.fails = 1
        await writer.keep(entries(1)[0])

    assert [0.1, 0.2, 0.1] == pytest.approx(pauses)


async def test_a_call_does_not_wait_for_a_book_that_is_gone_and_its_line_is_written_later() -> None:
    book = Groups(fails=float("inf"))
    back = asyncio.Event()

    async def pause(_seconds: float) -> None:
        await back.wait()

    writer = GroupWriter(book, pause=pause, patience=0.0)
    async with running(writer):
        await writer.keep(ENTRY)
        await book.writing.wait()

        assert (1, []) == (writer.waiting, await book.last(10))

        book.fails = 0
        back.set()

    assert (0, [ENTRY]) == (writer.waiting, await book.last(10))


def test_a_call_waits_for_seconds_at_the_most() -> None:
    assert PATIENCE_SECONDS <= 2


async def test_an_entry_is_written_though_its_call_was_cancelled() -> None:
    book = Groups()
    writer = GroupWriter(book)
    keeping = asyncio.create_task(writer.keep(ENTRY))
    await asyncio.sleep(0)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    async with running(writer):
        pass

    assert [ENTRY] == await book.last(10)


async def test_closing_writes_what_is_waiting() -> None:
    book = Groups()
    writer = GroupWriter(book)
    keeping = [asyncio.create_task(writer.keep(entry)) for entry in entries(3)]
    await asyncio.sleep(0)
    writer.close()
    await writer.run()
    await asyncio.gather(*keeping)

    assert entries(3) == await book.last(10)


async def test_a_writer_that_waits_for_work_can_be_closed() -> None:
    async with running(GroupWriter(Groups())):
        await asyncio.sleep(0)


async def test_closing_does_not_wait_for_a_book_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    book = Groups(fails=float("inf"))
    writer = GroupWriter(book, patience=0.0)
    await writer.keep(ENTRY)
    writer.close()
    async with asyncio.timeout(5):
        await writer.run()

    assert 1 == writer.waiting
    assert ["ledger_not_written"] == [record.message for record in caplog.records]
