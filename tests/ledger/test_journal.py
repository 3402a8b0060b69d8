import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.ledger import Mark, journal
from proxy.ledger.journal import Journal, left_behind, locked, read, released, remove, segments
from tests.fakes.eventually import eventually
from tests.fakes.threads import FewThreads


@asynccontextmanager
async def opened(folder: Path, *, segment_bytes: int = 4096, most_bytes: int = 10**6) -> AsyncIterator[Journal]:
    made = Journal(folder, most_bytes=most_bytes, segment_bytes=segment_bytes, again_seconds=0.001)
    made.begin()
    try:
        yield made
    finally:
        await made.end()
        made.close()


async def keep(kept: Journal, *lines: bytes) -> None:
    """All of them kept, or known to have to wait."""
    await asyncio.gather(*filter(None, map(kept.keep, lines)))


def lines(count: int, size: int = 100) -> list[bytes]:
    return [b"%06d %b\n" % (number, b"x" * (size - 8)) for number in range(count)]


def bare(of: list[bytes]) -> list[bytes]:
    return [line.rstrip(b"\n") for line in of]


async def test_what_was_kept_is_on_disk_when_its_future_is_done(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as kept:
        await keep(kept, b"one\n")

        assert ([b"one"], Mark(2, 0)) == read(tmp_path / "j", Mark(), None, 10)
        assert ([b"one"], Mark(1, 4)) == kept.read(Mark(), 10)


async def test_a_line_is_on_disk_at_once_with_all_that_was_noted_before_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as kept:
        kept.note(b"one\n")
        kept.note(b"two\n")

        assert [] == kept.read(Mark(), 10)[0]
        assert kept.keep(b"three\n") is None
        assert [b"one", b"two", b"three"] == kept.read(Mark(), 10)[0]


async def test_what_nobody_waits_for_is_on_disk_when_the_tick_of_the_loop_is_over(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as kept:
        kept.note(b"one\n")
        kept.note(b"two\n")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert [b"one", b"two"] == kept.read(Mark(), 10)[0]


async def test_lines_stay_in_order_over_many_segments(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as kept:
        await keep(kept, *lines(200))

        assert bare(lines(200)) == kept.read(Mark(), 1000)[0]
        assert len(segments(tmp_path / "j")) >= 5
    assert bare(lines(200)) == read(tmp_path / "j", Mark(), None, 1000)[0]


@settings(max_examples=30)
@given(sizes=st.lists(st.integers(9, 900), max_size=60), most=st.integers(1, 20))
def test_reading_on_from_any_mark_leaves_nothing_out(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], most: int
) -> None:
    folder = tmp_path_factory.mktemp("journals") / "j"
    said = [b"%b\n" % (b"x" * size) for size in sizes]

    async def write() -> list[bytes]:
        async with opened(folder, segment_bytes=1024) as kept:
            for line in said:
                kept.note(line)
            await keep(kept, b"end\n")
            found, mark = kept.read(Mark(), most)
            while more := kept.read(mark, most)[0]:
                found, mark = found + more, kept.read(mark, most)[1]
            return found

    there = asyncio.run(write())
    found, mark = read(folder, Mark(), None, most)
    while more := read(folder, mark, None, most)[0]:
        found, mark = found + more, read(folder, mark, None, most)[1]

    assert bare([*said, b"end\n"]) == there == found


class Hand:
    """A clock that goes on by as much as each write takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.takes = 0.0
        self.wrote: list[int] = []
        """In which threads."""
        self._pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)

    def pwrite(self, file: int, text: bytes, at: int) -> int:
        self.wrote.append(threading.get_ident())
        self.now += self.takes
        return self._pwrite(file, text, at)


async def test_a_write_that_was_slow_hands_over_to_the_thread_until_the_disk_is_quick_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, here = Hand(monkeypatch), threading.get_ident()
    made = Journal(tmp_path / "j", most_bytes=10**6, again_seconds=0.001, clock=lambda: disk.now)
    made.begin()
    disk.takes = journal.SLOW_SECONDS * 2
    slow = made.keep(b"slow\n")
    by_now = list(disk.wrote)
    waits = made.keep(b"meanwhile\n")

    assert (None, [here], True) == (slow, by_now, waits is not None)
    await keep(made, b"later\n")
    assert here not in disk.wrote[1:]
    disk.takes, disk.now = 0.0, disk.now + 1
    await until(lambda: made.keep(b"again\n") is None)

    assert here == disk.wrote[-1]
    said = made.read(Mark(), 10**4)[0]
    assert [b"slow", b"meanwhile", b"later"] == said[:3]
    assert {b"again"} == set(said[3:])
    await made.end()
    made.close()


async def test_the_loop_writes_again_though_lines_never_cease_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Hand(monkeypatch)
    made = Journal(tmp_path / "j", most_bytes=10**8, again_seconds=0.001, clock=lambda: disk.now)
    made.begin()
    disk.takes = 1.0
    made.keep(b"slow\n")
    disk.takes, disk.now = 0.0, disk.now + 1
    said = [b"slow"]

    def come() -> bool:
        """A few more, of which nobody ever waits for the last."""
        for number in range(20):
            said.append(b"%d" % (len(said) * 100 + number))
            if made.keep(said[-1] + b"\n") is None:
                return True
        return False

    await until(come)

    assert said == made.read(Mark(), 10**6)[0]
    await made.end()
    made.close()


@settings(max_examples=20)
@given(fails=st.lists(st.booleans(), min_size=1, max_size=30), size=st.integers(9, 400))
def test_whoever_writes_lines_stay_in_order_and_none_is_left_out(
    tmp_path_factory: pytest.TempPathFactory, fails: list[bool], size: int
) -> None:
    folder = tmp_path_factory.mktemp("journals") / "j"
    said = lines(len(fails) * 3, size)

    async def write() -> None:
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch)
            async with opened(folder, segment_bytes=1024) as kept:
                for number, fail in enumerate(fails):
                    disk.fails = fail
                    kept.note(said[number * 3])
                    kept.note(said[number * 3 + 1])
                    await keep(kept, said[number * 3 + 2])
                disk.fails = False
                await until(lambda: not kept.failing)

    asyncio.run(write())

    assert bare(said) == read(folder, Mark(), None, 10**4)[0]


async def test_where_there_is_no_thread_to_be_had_it_ends_all_the_same(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as kept:
        asyncio.get_running_loop().set_default_executor(FewThreads(float("inf")))
        kept.note(b"one\n")

        assert ([], [b"one"]) == (await kept.end(), kept.read(Mark(), 10)[0])


async def test_what_is_said_after_the_end_is_lost_and_counted(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as kept:
        kept.note(b"one\n")

        assert [] == await kept.end()
        kept.note(b"two\n")
        assert kept.keep(b"three\n") is None
        assert ([b"one"], 2) == (kept.read(Mark(), 10)[0], kept.lost)


async def test_what_is_in_the_book_takes_no_room_any_more(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as kept:
        await keep(kept, *lines(200))
        before = kept.size
        _, mark = kept.read(Mark(), 150)
        kept.forget(mark)

        assert before > 20_000 > kept.size > 0
        assert mark.segment == segments(tmp_path / "j")[0]
        assert bare(lines(200)[150:]) == kept.read(mark, 1000)[0]


async def test_it_is_full_when_too_much_waits_for_the_book_and_takes_more_all_the_same(tmp_path: Path) -> None:
    async with opened(tmp_path / "j", most_bytes=10_000) as kept:
        await keep(kept, *lines(50))
        early = kept.full
        await keep(kept, *lines(100))
        late = kept.full
        kept.forget(kept.read(Mark(), 1000)[1])

        assert (False, True, False) == (early, late, kept.full)


async def test_a_line_that_is_longer_than_a_segment_is_told_as_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path / "j") as kept:
        await keep(kept, b"x" * 5000 + b"\n")
        await keep(kept, b"one\n")

        assert ([b"one"], 1) == (kept.read(Mark(), 10)[0], kept.lost)
    assert ["journal_lines_lost"] == [record.message for record in caplog.records]


async def test_a_torn_line_was_never_there(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as kept:
        await keep(kept, *lines(3))
    with (tmp_path / "j" / "00000001").open("r+b") as file:
        file.seek(300)
        file.write(b"half a li")

    assert (bare(lines(3)), Mark(2, 0)) == read(tmp_path / "j", Mark(), None, 10)


class Queue(SimpleQueue[Any]):
    """What the thread is given. Whoever is done with a segment waits until the thread has done its part of it."""

    def __init__(self) -> None:
        self.is_asked = threading.Event()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        self.is_asked.wait(5)
        self.is_asked.clear()
        super().put(item)
        if isinstance(item, int):
            self.is_asked.wait(5)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        self.is_asked.set()
        return super().get(block, timeout)


async def test_however_soon_the_thread_is_done_with_a_segment_there_is_a_spare_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SimpleQueue", Queue)
    async with opened(tmp_path / "j") as kept:
        waits = [kept.keep(line) for line in lines(400)]

        assert [None] * 400 == waits
        assert bare(lines(400)) == kept.read(Mark(), 1000)[0]


class Held:
    """Lets the thread write once for each time that it is told to, and tells of each try."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tries, self._may = threading.Semaphore(0), threading.Semaphore(0)
        self._is_free, self._here, self._pwrite = False, threading.get_ident(), os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)

    def pwrite(self, file: int, text: bytes, at: int) -> int:
        if threading.get_ident() != self._here and not self._is_free:
            self.tries.release()
            self._may.acquire(timeout=5)
        return self._pwrite(file, text, at)

    def once(self) -> None:
        self._may.release()

    def free(self) -> None:
        self._is_free = True
        self._may.release(2)


async def handed_over(folder: Path, disk: Held) -> Journal:
    """A journal with a line that took long to write, so that its thread tries whether the disk is quick by now."""
    times = iter((0.0, 1.0))
    made = Journal(folder, most_bytes=10**6, again_seconds=0.001, clock=lambda: next(times, 2.0))
    made.begin()
    made.keep(b"slow\n")
    await asyncio.to_thread(disk.tries.acquire, timeout=5)
    return made


async def test_the_thread_does_not_try_the_disk_where_the_loop_may_write_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, queue = Held(monkeypatch), Queue()
    monkeypatch.setattr(journal, "SimpleQueue", lambda: queue)
    made = await handed_over(tmp_path / "j", disk)
    queue.is_asked.clear()
    disk.once()
    for _ in range(2):  # The loop is busy for so long that the thread goes round before it hears that it may write.
        queue.is_asked.wait(1)
        queue.is_asked.clear()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waits = made.keep(b"one\n")
    disk.free()
    await made.end()
    made.close()

    assert (None, [b"slow", b"one"]) == (waits, made.read(Mark(), 10)[0])


async def held_up(folder: Path, disk: Held, line: bytes) -> Journal:
    """One whose thread has found the disk quick, and now waits for it with this line for ever."""
    made = await handed_over(folder, disk)
    made.keep(line)
    disk.once()
    await asyncio.to_thread(disk.tries.acquire, timeout=5)
    return made


async def test_what_is_held_until_the_loop_can_write_is_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_WAITING", 20)
    disk = Held(monkeypatch)
    made = await held_up(tmp_path / "j", disk, b"first\n")
    for line in lines(50):
        made.keep(line)
    full, lost = made.full, made.lost
    disk.free()

    assert (True, 11, []) == (full, lost, await made.end())
    assert [b"slow", b"first", *bare(lines(39))] == made.read(Mark(), 100)[0]
    made.close()


async def test_what_waits_for_a_disk_that_says_nothing_is_given_back_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal, "END_SECONDS", 0.01)
    disk = Held(monkeypatch)
    made = await held_up(tmp_path / "j", disk, b"one\n")
    made.keep(b"two\n")
    made.note(b"three\n")

    assert [b"one", b"two", b"three"] == await made.end()
    assert ["journal_given_up"] == [record.message for record in caplog.records]
    disk.free()
    made.close()


class Disk:
    """Fails to write while it is told to, and tells how often it did."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = False
        self.failed = threading.Event()
        self._pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)

    def pwrite(self, file: int, text: bytes, at: int) -> int:
        if self.fails:
            self._pwrite(file, text[:3], at)
            self.failed.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._pwrite(file, text, at)


async def until(holds: Callable[[], bool]) -> None:
    async def look() -> bool | None:
        return holds() or None

    await eventually(look, 20, "the disk has been tried again")


async def test_nobody_waits_for_a_disk_that_takes_nothing_and_it_is_written_once_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(monkeypatch)
    async with opened(tmp_path / "j") as kept:
        await keep(kept, b"before\n")
        disk.fails = True
        async with asyncio.timeout(20):
            await keep(kept, b"during\n")
            await keep(kept, b"still\n")
        while_failing = kept.full, kept.read(Mark(), 10)[0]
        disk.fails = False
        await until(lambda: not kept.failing)

        assert (True, [b"before"]) == while_failing
        assert ([b"before", b"during", b"still"], False) == (kept.read(Mark(), 10)[0], kept.full)
    assert ["journal_failed", "journal_works_again"] == [record.message for record in caplog.records]


async def test_what_waits_for_the_disk_is_bounded_and_what_is_lost_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_WAITING", 20)
    disk = Disk(monkeypatch)
    async with opened(tmp_path / "j") as kept:
        disk.fails = True
        await keep(kept, *lines(35))
        await until(lambda: kept.lost == 15)
        disk.fails = False
        await until(lambda: not kept.failing)

        assert bare(lines(35)[15:]) == kept.read(Mark(), 100)[0]


async def test_what_no_disk_took_by_the_end_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    async with opened(tmp_path / "j") as kept:
        disk.fails = True
        await keep(kept, b"one\n")

        assert [b"one"] == await kept.end()


async def test_far_beyond_its_bound_it_takes_nothing_more_and_counts_that(tmp_path: Path) -> None:
    async with opened(tmp_path / "j", most_bytes=5_000) as kept:
        for line in lines(300):
            await keep(kept, line)

        assert 10_000 <= kept.size <= 15_000
        assert kept.lost == 300 - len(kept.read(Mark(), 1000)[0])


async def test_a_system_that_gives_no_room_beforehand_gets_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    async with opened(tmp_path / "j") as kept:
        await keep(kept, *lines(100))

        assert bare(lines(100)) == kept.read(Mark(), 1000)[0]


async def test_the_next_segment_has_its_room_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path / "j") as kept:
        monkeypatch.setattr(os, "posix_fallocate", _full_disk)
        await keep(kept, *lines(60))

        assert (False, bare(lines(60))) == (kept.failing, kept.read(Mark(), 100)[0])


def _full_disk(file: int, at: int, size: int) -> None:
    if os.fstat(file).st_size < size:
        raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_journal_is_left_behind_once_its_process_has_gone(tmp_path: Path) -> None:
    async with opened(tmp_path / "journal" / "a") as kept:
        await keep(kept, b"one\n")

        assert [] == list(left_behind(tmp_path / "journal"))
    found = list(left_behind(tmp_path / "journal"))

    assert [tmp_path / "journal" / "a"] == [folder for folder, _ in found]
    with pytest.raises(BlockingIOError):
        locked(tmp_path / "journal" / "a")
    for _, lock in found:
        with released(lock):
            pass
    os.close(locked(tmp_path / "journal" / "a"))


def test_where_there_are_no_journals_none_are_left_behind(tmp_path: Path) -> None:
    assert [] == list(left_behind(tmp_path / "journal"))


async def test_a_journal_can_be_removed(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as kept:
        await keep(kept, *lines(100))
    remove(tmp_path / "j")

    assert not (tmp_path / "j").exists()


async def test_it_is_nobody_elses_to_read(tmp_path: Path) -> None:
    async with opened(tmp_path / "journal" / "j"):
        assert 0o700 == (tmp_path / "journal" / "j").stat().st_mode & 0o777
        assert {0o600} == {path.stat().st_mode & 0o777 for path in (tmp_path / "journal" / "j").iterdir()}


async def test_it_can_be_brought_to_the_disk_itself(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as kept:
        await keep(kept, b"one\n")
        kept.sync()
