import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import StorageFailed
from proxy.ledger import Mark, Part, Running
from proxy.ledger.bookkeeping import EVERY_SECONDS, LARGEST_GROUP, Bookkeeper, Fold, close_all, take_over
from proxy.ledger.journal import Journal
from proxy.ledger.steps import Done, Step, Told, written
from proxy.vocabulary import Entry, Outcome, Usage
from tests.fakes.book import FakeBook
from tests.fakes.eventually import eventually
from tests.fakes.threads import FewThreads

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def began(call: str) -> Running:
    return Running(call, NOON, "/api/chat", user="alice", key_id="k1", plan="default", peer="::1")


def entry(call: str, outcome: Outcome = Outcome.SERVED, tokens: int = 3) -> Entry:
    return Entry(
        call, NOON, "/api/chat", outcome, 200, user="alice", key_id="k1", plan="default", model="m", peer="::1",
        usage=Usage(tokens, tokens),
    )  # fmt: skip


def lost(call: str) -> Entry:
    return replace(entry(call, Outcome.LOST), usage=Usage(3, exact=False), status=None, reason="gate_died")


def lines(*steps: Step) -> list[bytes]:
    return [written(step).rstrip(b"\n") for step in steps]


def test_a_call_that_began_goes_on() -> None:
    assert ([], [began("a")]) == Fold().take(lines(began("a")))


def test_a_call_that_began_and_ended_in_one_part_never_goes_on() -> None:
    assert ([entry("a")], []) == Fold().take(lines(began("a"), Told(lost("a")), entry("a")))


def test_a_call_goes_on_with_what_was_told_of_it() -> None:
    fold = Fold()
    fold.take(lines(began("a")))
    known = replace(began("a"), model="m", prompt_floor=3, told=lost("a"))

    assert ([], [known]) == fold.take(lines(Told(lost("a"))))
    assert ([], []) == fold.take([])
    assert {"a": known} == fold.running


def test_a_call_can_end_as_it_was_told() -> None:
    fold = Fold()
    fold.take(lines(began("a"), Told(entry("a"))))
    ended = replace(entry("a"), bytes_out=9, first_byte_seconds=0.5, total_seconds=2.0)

    assert ([ended], []) == fold.take(lines(Done("a", 9, 0.5, 2.0)))
    assert {} == fold.running


def test_calls_that_nobody_ended_end_as_they_were_told_or_are_lost() -> None:
    fold = Fold()
    fold.take(lines(began("a"), began("b"), began("c"), Told(entry("b")), Told(lost("c"))))
    never_asked = replace(lost("a"), model=None, usage=Usage(exact=False))

    assert [never_asked, entry("b"), lost("c")] == fold.died()
    assert [] == fold.died()


def test_a_call_whose_beginning_was_torn_is_known_by_what_was_told_of_it() -> None:
    fold = Fold()
    fold.take(lines(Told(entry("a"))))

    assert [entry("a")] == fold.died()


def test_a_line_that_tells_nothing_is_counted_and_stops_nothing() -> None:
    fold = Fold()

    assert ([entry("a")], []) == fold.take([b"E{", b"", b"junk", *lines(entry("a"), Done("x", 1, None, 1.0))])
    assert 3 == fold.torn


def test_a_call_that_is_done_though_nothing_was_told_of_it_is_lost_and_goes_on_no_more() -> None:
    fold = Fold()
    ended = replace(began("a").so_far, bytes_out=1, total_seconds=1.0)

    assert ([ended], []) == fold.take(lines(began("a"), Done("a", 1, None, 1.0)))
    assert ({}, 0) == (fold.running, fold.torn)


async def test_a_call_of_which_the_book_knows_the_beginning_goes_on_no_more_there_once_it_is_done() -> None:
    book, fold = FakeBook(), Fold()
    for step in (began("a"), Done("a", 1, None, 1.0)):
        ended, going_on = fold.take(lines(step))
        await book.write(ended, Part("j", Mark(), going_on))

    assert [("a", Outcome.LOST)] == [(one.id, one.outcome) for one in await book.last(10)]
    assert [] == (await book.begun("j"))[1]


def test_what_was_told_before_counts_where_what_was_told_last_is_torn() -> None:
    fold, whole = Fold(), lines(Told(entry("a", tokens=9)))[0]
    zeros = whole[:60] + bytes(20) + whole[80:]
    done = Done("a", 9, 0.5, 2.0)
    ended = replace(lost("a"), bytes_out=9, first_byte_seconds=0.5, total_seconds=2.0)

    assert ([ended], []) == fold.take([*lines(began("a"), Told(lost("a"))), zeros, *lines(done)])
    assert 1 == fold.torn


def test_a_torn_end_ends_nothing() -> None:
    fold, whole = Fold(), lines(Done("a", 9, 0.5, 2.0))[0]
    known = replace(began("a"), model="m", prompt_floor=3, told=lost("a"))

    assert ([], [known]) == fold.take([*lines(began("a"), Told(lost("a"))), whole[:-1]])
    assert 1 == fold.torn


CALLS = ("a", "b", "c")


def _ends(call: str) -> list[list[Step]]:
    told = Told(entry(call))
    return [[], [entry(call)], [told], [told, Done(call, 1, 0.5, 2.0)]]


@st.composite
def stories(draw: st.DrawFn) -> list[Step]:
    """The steps of some calls, shuffled but for each one's own order."""
    rests: dict[str, list[Step]] = {
        call: [began(call), *[Told(lost(call))] * draw(st.integers(0, 2)), *draw(st.sampled_from(_ends(call)))]
        for call in CALLS
    }
    steps: list[Step] = []
    while any(rests.values()):
        call = draw(st.sampled_from([call for call, rest in rests.items() if rest]))
        steps.append(rests[call].pop(0))
    return steps


@given(steps=stories(), cuts=st.lists(st.integers(0, 20)), died_at=st.integers(0, 20))
def test_however_it_is_cut_and_wherever_it_is_taken_up_again_the_book_has_each_call_once(
    steps: list[Step], cuts: list[int], died_at: int
) -> None:
    said = lines(*steps)
    at_once = Fold()
    whole = at_once.take(said)[0] + at_once.died()
    cut = [0, *sorted(min(at, len(said)) for at in cuts), len(said)]
    fold, kept, rows = Fold(), list[Entry](), dict[str, Running]()
    for number, (start, end) in enumerate(pairwise(cut)):
        if number == died_at:
            fold = Fold(dict(rows))  # What the book had, and nothing else.
        ended, going_on = fold.take(said[start:end])
        kept += ended
        rows.update((call.id, call) for call in going_on)
        for one in ended:
            rows.pop(one.id, None)
    kept += Fold(dict(rows)).died()

    assert sorted(whole, key=lambda one: one.id) == sorted(kept, key=lambda one: one.id)
    assert list(CALLS) == sorted(one.id for one in kept)


class Book(FakeBook):
    """Remembers in which parts it was written, and fails as often as it is told to."""

    def __init__(self, fails: float = 0) -> None:
        super().__init__()
        self.fails = fails
        self.parts: list[Part | None] = []
        self.groups: list[int] = []
        self.wrote = asyncio.Event()

    async def write(self, entries: Sequence[Entry], part: Part | None = None) -> None:
        self.wrote.set()
        if self.fails > 0:
            self.fails -= 1
            raise StorageFailed from OSError("disk full")
        self.parts.append(part)
        self.groups.append(len(entries))
        await super().write(entries, part)


class Copies:
    def __init__(self) -> None:
        self.given: list[list[str]] = []

    async def keep(self, entries: Sequence[Entry]) -> None:
        self.given.append([entry.id for entry in entries])


class House:
    """A journal and its bookkeeper, who rests for no time at all."""

    def __init__(self, journal: Journal, book: Book) -> None:
        self.journal, self.book, self.copies = journal, book, Copies()
        self.rests: list[float] = []
        self.keeper = Bookkeeper(book, journal, [self.copies], pause=self._pause)
        self.keeping = asyncio.create_task(self.keeper.run())

    async def _pause(self, seconds: float) -> None:
        self.rests.append(seconds)
        await asyncio.sleep(0)

    async def say(self, *steps: Step) -> None:
        for step in steps:
            if (answered := self.journal.keep(written(step))) is not None:
                await answered

    async def end(self) -> None:
        await self.journal.end()
        self.keeper.close()
        await self.keeping


@asynccontextmanager
async def house(folder: Path, book: Book) -> AsyncIterator[House]:
    journal = Journal(folder, most_bytes=10**7, segment_bytes=2**20)
    journal.begin()
    made = House(journal, book)
    try:
        yield made
    finally:
        if not made.keeping.done():
            await made.end()
        journal.close()


async def until(book: Book, count: int) -> list[Entry]:
    async def written() -> list[Entry] | None:
        found = await book.last(10_000)
        return found if len(found) >= count else None

    return await eventually(written, 20, "entries in the book")


async def test_what_the_journal_says_is_brought_to_the_book_and_needs_no_room_there_any_more(tmp_path: Path) -> None:
    book = Book()
    async with house(tmp_path / "j", book) as made:
        await made.say(began("a"), Told(lost("a")), entry("a"))

        assert [entry("a")] == await until(book, 1)
        await made.end()
        assert (True, 0) == (made.keeper.done, made.journal.size)
        assert [["a"]] == made.copies.given


async def test_closing_brings_all_that_is_left_in_groups(tmp_path: Path) -> None:
    book = Book()
    async with house(tmp_path / "j", book) as made:
        count = LARGEST_GROUP * 2 + 10
        for number in range(count):
            made.journal.note(written(entry(f"c{number}")))
        await made.end()

        assert count == len(await book.last(10_000))
        assert max(book.groups) <= LARGEST_GROUP
        assert made.keeper.done


class LateJournal(Journal):
    """What its first reader finds is told late."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, most_bytes=10**7)
        self.has_looked, self.may_tell = threading.Event(), threading.Event()

    def read(self, mark: Mark, most: int) -> tuple[list[bytes], Mark]:
        found = super().read(mark, most)
        self.has_looked.set()
        self.may_tell.wait(5)
        return found


async def test_what_is_written_after_a_look_and_before_the_end_is_brought_too(tmp_path: Path) -> None:
    book, journal = Book(), LateJournal(tmp_path / "j")
    journal.begin()
    made = House(journal, book)
    await asyncio.to_thread(journal.has_looked.wait, 5)
    await made.say(entry("a"))
    await journal.end()
    made.keeper.close()
    journal.may_tell.set()
    await made.keeping
    journal.close()

    assert ([entry("a")], True) == (await book.last(10), made.keeper.done)


async def test_a_book_that_fails_is_tried_again_and_the_copies_are_given_each_entry_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    book = Book(fails=3)
    async with house(tmp_path / "j", book) as made:
        await made.say(entry("a"))

        assert [entry("a")] == await until(book, 1)
        assert [["a"]] == made.copies.given
        assert {EVERY_SECONDS * times for times in (1, 2, 4)} == set(made.rests)
        await made.say(entry("b"))
        await until(book, 2)
        assert 0.0 == made.keeper.behind_seconds
    assert ["ledger_not_written", "ledger_written_again"] == [
        record.message for record in caplog.records if record.levelno >= logging.WARNING
    ]


async def test_where_there_is_no_thread_to_be_had_it_is_tried_again(tmp_path: Path) -> None:
    asyncio.get_running_loop().set_default_executor(FewThreads(4))
    book = Book()
    async with house(tmp_path / "j", book) as made:
        await made.say(entry("a"))

        assert [entry("a")] == await until(book, 1)


async def test_closing_does_not_wait_for_a_book_that_is_gone_and_the_next_start_finds_it_all(tmp_path: Path) -> None:
    book = Book(fails=float("inf"))
    async with house(tmp_path / "journal" / "j", book) as made:
        await made.say(began("a"), Told(lost("a")), began("b"), Told(entry("b")), entry("c"))
        async with asyncio.timeout(20):
            await made.end()

        assert not made.keeper.done
    book.fails = 0
    copies = Copies()

    assert 2 == await take_over(tmp_path / "journal", book, [copies])
    assert [entry("c"), lost("a"), entry("b")] == sorted(
        await book.last(10), key=lambda one: ["c", "a", "b"].index(one.id)
    )
    assert ["a", "b", "c"] == sorted(call for group in copies.given for call in group)
    assert [] == list((tmp_path / "journal").iterdir())


async def test_what_no_disk_took_is_brought_at_the_end_and_nobody_goes_on(tmp_path: Path) -> None:
    book = Book()
    async with house(tmp_path / "j", book) as made:
        await made.say(began("a"), Told(lost("a")), began("b"))
        await made.journal.end()
        made.keeper.close(lines(entry("a")))
        await made.keeping

    assert [("a", Outcome.SERVED), ("b", Outcome.LOST)] == [(one.id, one.outcome) for one in await book.last(10)]
    assert ([], True) == ((await book.begun("j"))[1], made.keeper.done)


async def test_what_no_disk_and_no_book_took_is_told_as_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with house(tmp_path / "j", Book(fails=float("inf"))) as made:
        await made.journal.end()
        made.keeper.close(lines(entry("a")))
        await made.keeping

    assert not made.keeper.done
    assert "journal_lines_lost" in [record.message for record in caplog.records]


async def test_what_was_brought_before_a_crash_is_not_brought_again(tmp_path: Path) -> None:
    book = Book()
    async with house(tmp_path / "journal" / "j", book) as made:
        await made.say(began("a"), Told(lost("a")), entry("b"))
        await until(book, 1)
        made.keeping.cancel()
        await asyncio.wait([made.keeping])
        await made.say(began("d"))
        await made.journal.end()

    assert 2 == await take_over(tmp_path / "journal", book)
    assert ["b", "a", "d"] == [one.id for one in await book.last(10)]
    assert 0 == await take_over(tmp_path / "journal", book)


async def test_a_journal_of_a_process_that_lives_is_left_alone(tmp_path: Path) -> None:
    book = Book()
    async with house(tmp_path / "journal" / "j", book) as made:
        await made.say(began("a"))

        assert 0 == await take_over(tmp_path / "journal", book)
        assert (tmp_path / "journal" / "j").is_dir()


async def test_calls_that_no_gate_goes_on_with_can_be_closed() -> None:
    book = FakeBook()
    await book.write([], Part("elsewhere", Mark(1, 9), [replace(began("a"), told=entry("a")), began("b")]))
    await close_all(book, NOON)

    assert [("a", Outcome.SERVED), ("b", Outcome.LOST)] == [(one.id, one.outcome) for one in await book.last(10)]
    assert ([], []) == ((await book.begun("elsewhere"))[1], (await book.at(NOON))[1])


async def test_a_book_that_fails_at_the_start_loses_nothing(tmp_path: Path) -> None:
    book = Book(fails=float("inf"))
    async with house(tmp_path / "journal" / "j", book) as made:
        await made.say(entry("a"))
    with pytest.raises(StorageFailed):
        await take_over(tmp_path / "journal", book)
    book.fails = 0

    assert 0 == await take_over(tmp_path / "journal", book)
    assert [entry("a")] == await book.last(10)


async def test_the_mark_goes_with_what_it_marks(tmp_path: Path) -> None:
    book = Book()
    async with house(tmp_path / "j", book) as made:
        await made.say(began("a"), entry("b"))
        await until(book, 1)
        made.keeping.cancel()
        await asyncio.wait([made.keeping])
        mark, running = await book.begun("j")

        assert [began("a")] == running
        assert mark > Mark()
        assert [] == made.journal.read(mark, 10)[0]
        await made.journal.end()
