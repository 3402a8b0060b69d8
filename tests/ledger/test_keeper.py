import asyncio
from datetime import UTC, datetime
from pathlib import Path

from proxy.ledger import Mark, Running
from proxy.ledger.journal import Journal
from proxy.ledger.keeper import PATIENCE_SECONDS, JournalKeeper
from proxy.ledger.steps import Told, read
from proxy.vocabulary import Entry, Outcome

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ENTRY = Entry("c1", NOON, "/api/chat", Outcome.SERVED, 200)


async def test_what_is_kept_is_in_the_journal_and_what_is_noted_comes_in_its_turn(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", most_bytes=10**6)
    journal.begin()
    keeper = JournalKeeper(journal)
    keeper.note(Running("c1", NOON, "/api/chat"))
    later = [keeper.keep(Told(ENTRY)), keeper.keep(ENTRY)]

    assert [None, None] == later
    assert [Running("c1", NOON, "/api/chat"), Told(ENTRY), ENTRY] == list(map(read, journal.read(Mark(), 10)[0]))
    assert not keeper.full
    await journal.end()
    journal.close()


async def kept(keeper: JournalKeeper) -> None:
    if (later := keeper.keep(ENTRY)) is not None:
        await later


class Hanging:
    """A journal on a disk that says nothing, and has no room."""

    full = True

    def keep(self, line: bytes) -> "asyncio.Future[None]":
        return asyncio.get_running_loop().create_future()


async def test_nobody_waits_for_ever_for_a_disk_that_says_nothing() -> None:
    keeper = JournalKeeper(Hanging(), patience=0.0)  # type: ignore[arg-type]  # The part of it that is used.
    async with asyncio.timeout(20):
        await kept(keeper)

    assert keeper.full


class Slow:
    """A journal whose disk answers when it is told to."""

    full = False

    def __init__(self) -> None:
        self.answers: list[asyncio.Future[None]] = []

    def keep(self, line: bytes) -> "asyncio.Future[None]":
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]


async def test_all_who_wait_are_let_go() -> None:
    slow = Slow()
    keeper = JournalKeeper(slow, patience=0.0)  # type: ignore[arg-type]
    async with asyncio.timeout(20):
        for _ in range(2):
            await asyncio.gather(*(kept(keeper) for _ in range(3)))

    assert [True] * 6 == [answer.done() for answer in slow.answers]


async def test_who_is_answered_goes_on_beside_those_who_are_not_or_have_left() -> None:
    slow = Slow()
    keeper = JournalKeeper(slow, patience=60.0)  # type: ignore[arg-type]
    calls = [asyncio.create_task(kept(keeper)) for _ in range(3)]
    await asyncio.sleep(0)
    calls[0].cancel()
    slow.answers[2].set_result(None)
    async with asyncio.timeout(20):
        await calls[2]
        await asyncio.wait(calls[:1])

    assert [True, False, True] == [call.done() for call in calls]
    slow.answers[1].set_result(None)
    async with asyncio.timeout(20):
        await calls[1]


def test_a_call_waits_for_seconds_at_the_most() -> None:
    assert PATIENCE_SECONDS <= 2
