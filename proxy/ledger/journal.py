"""Where every step of a call is on disk before anybody builds on it, whatever becomes of the database or the process.

A journal is a folder of segments, each a file of lines that is only ever appended to. As long as the disk answers
within milliseconds the loop writes by itself, which costs it less than to wake anybody: what is written is in the
system's memory by then, and seldom more. A write that takes long, or fails, hands writing over to a thread, which
writes whatever has come while it wrote, so that the loop waits for the disk no more; it is given back once the disk is
quick again. So a disk that hangs stops the loop once, for as long as that first write takes, and not again while it
hangs: who can not have that keeps the journal where nothing does.

A segment gets its room before it is needed, and the next one too, by the thread: a disk that others have filled still
takes what is under way. What is written survives the process at once, and the machine as soon as the system brings it
to the disk or the book has it.
"""

import asyncio
import fcntl
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from proxy.ledger import Mark
from proxy.vocabulary import Clock

SEGMENT_BYTES = 4 * 2**20
PREFACE = 8
"""Digits of a segment's name."""
LONGEST_LINE = 2**20
"""A line beyond is none of ours."""
MOST_WAITING = 20_000
"""Lines that wait for a disk that takes none; beyond, the oldest are lost."""
SLOW_SECONDS = 0.02
"""A write that takes longer is not waited for by the loop a second time."""
AGAIN_SECONDS = 0.5
"""Between two tries on a disk that takes nothing, and before the loop tries one again that was slow twice."""
END_SECONDS = 10.0
"""How long the end waits for a disk that says neither yes nor no."""

_Waiting = tuple[bytes, "asyncio.Future[None] | None"]
_Task = _Waiting | int | None
"""For the thread: a line, the descriptor of a segment that is done with, or the end."""


class Journal:
    """One process's own. Open it with ``begin``, then ``end`` and ``close`` it. All but ``read``, ``forget`` and
    ``sync`` is for the loop's own thread.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_bytes: int,
        segment_bytes: int = SEGMENT_BYTES,
        again_seconds: float = AGAIN_SECONDS,
        clock: Clock = time.monotonic,
    ) -> None:
        """``most_bytes`` is how much may wait for the book; beyond, the journal is full, though it takes more."""
        self.folder = folder
        self._most_bytes = most_bytes
        self._segment_bytes = segment_bytes
        self._again_seconds = again_seconds
        self._clock = clock
        self._lock: int | None = None
        self._forgotten = Mark()
        self.lost = 0
        """Lines that no disk ever took."""
        self.failing = False
        """Whether the disk takes nothing at the moment."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._log = logging.getLogger("proxy.ledger")
        self._has_ended = False
        self._is_over = asyncio.Event()
        """Set once the thread has come to its end."""

        # Of whoever writes: the loop, or the thread while writing is handed over.
        self._file = -1
        self._spare = -1
        """The next segment, once it has its room."""
        self._end = Mark()

        # Of the loop.
        self._noted: list[bytes] = []
        """Lines that nobody waits for, until this tick of the loop is over."""
        self._is_handed_over = False
        self._slow_at = -math.inf
        self._given = 0
        """Lines that were given to the thread."""
        self._held: list[_Waiting] | None = None
        """Lines that wait for the thread to come to its end, so that the loop can go on behind it; else None."""

        # Of the thread.
        self._thread: threading.Thread | None = None
        self._queue: SimpleQueue[_Task] = SimpleQueue()
        self._unwritten: list[_Waiting] = []
        self._taken = 0
        """Lines of those that were given to it which are written or lost."""
        self._has_been_heard = True
        """Whether the loop has heard what it said last; until then the loop may be about to write by itself."""
        self._back_at = 0.0
        """When the loop may write again."""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def size(self) -> int:
        """Bytes that wait for the book."""
        end, forgotten = self._end, self._forgotten
        return (end[0] - forgotten[0]) * self._segment_bytes + end[1] - forgotten[1]

    @property
    def full(self) -> bool:
        """Whether no other call should begin."""
        return self.failing or self.size >= self._most_bytes or self._waits >= MOST_WAITING

    def begin(self) -> None:
        """Make the folder and the first segment, and start to write. Raises OSError."""
        unborn = self.folder.with_name(f".{self.folder.name}")  # Until it is locked, so that nobody takes it for left.
        unborn.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unborn.mkdir(mode=0o700)
        self._lock = locked(unborn)
        unborn.rename(self.folder)
        self._loop = asyncio.get_running_loop()
        self._next_segment()
        self._forgotten = self._end
        self._thread = threading.Thread(target=self._serve, name="journal", daemon=True)
        self._thread.start()

    def keep(self, line: bytes) -> "asyncio.Future[None] | None":
        """Write a line; None where it is written. Else the future is done once it is, or is known to have to wait for
        the disk.
        """
        lines = self._noted
        lines.append(line)
        self._noted = []
        if self._put(lines):
            return None
        written = asyncio.get_running_loop().create_future()
        self._give([*((noted, None) for noted in lines[:-1]), (line, written)])
        return written

    def note(self, line: bytes) -> None:
        """Write a line that nobody waits for: with the next one that is waited for, or else when this tick of the loop
        is over.
        """
        if not self._noted and self._loop is not None:
            self._loop.call_soon(self._put_noted)
        self._noted.append(line)

    def _put_noted(self) -> None:
        if self._noted:
            lines, self._noted = self._noted, []
            if not self._put(lines):
                self._give([(line, None) for line in lines])

    def forget(self, mark: Mark) -> None:
        """All before this mark is in the book: its room is free again."""
        for segment in range(self._forgotten.segment, mark.segment):
            with suppress(OSError):
                _path(self.folder, segment).unlink()
        self._forgotten = mark

    def read(self, mark: Mark, most: int) -> tuple[list[bytes], Mark]:
        """So many lines from a mark on at the most, without their ends, and the mark behind them. Raises OSError."""
        return read(self.folder, mark, self._end, most)

    def sync(self) -> None:
        """Return once what has been written survives the machine too. Raises OSError."""
        descriptor = os.open(_path(self.folder, self._end.segment), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    async def end(self) -> list[bytes]:
        """Write what is waiting, and nothing from then on. What the disk does not take is given back, to be kept else.

        A disk that does not answer is not waited for longer than ten seconds.
        """
        self._put_noted()
        self._let_go()
        self._has_ended = self._is_handed_over = True
        self._queue.put(None)
        if self._thread is not None:
            with suppress(TimeoutError):  # No other thread is asked to wait for it: there may be none to be had.
                async with asyncio.timeout(END_SECONDS):
                    await self._is_over.wait()
            if not self._is_over.is_set():
                self._log.error("journal_given_up")
                return self._taken_back()
        for file in (self._file, self._spare):
            if file >= 0:
                os.close(file)
        self._file = self._spare = -1
        rest, self._unwritten = [line.rstrip(b"\n") for line, _ in self._unwritten], []
        return rest

    def _taken_back(self) -> list[bytes]:
        """What a thread that the disk holds up has not written. It ends by itself, should the disk answer after all."""
        waiting = list(self._unwritten)
        with suppress(Empty):
            while True:
                task = self._queue.get_nowait()
                waiting += [task] if isinstance(task, tuple) else []
        self._queue.put(None)
        return [line.rstrip(b"\n") for line, _ in waiting if line]

    def close(self) -> None:
        """Let go of the folder, once it has ended: whoever begins next may take it over."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # The loop's part.

    def _put(self, lines: list[bytes]) -> bool:
        """Whether the loop is done with them: it has written them, or they are lost. Else they are for the thread."""
        if self._is_handed_over:
            return self._lose_some(lines) if self._has_ended or self._is_bursting else False
        text = b"".join(lines)
        end = self._end
        if end.offset + len(text) > self._segment_bytes:
            if self._is_bursting:
                return self._lose_some(lines)
            if self._spare < 0 or len(text) > self._segment_bytes:
                self._hand_over(0.0)
                return False
            end = self._turn()
        began = self._clock()
        try:
            is_written = os.pwrite(self._file, text, end.offset) == len(text)
        except OSError:
            is_written = False
        if is_written:
            self._end = Mark(end.segment, end.offset + len(text))
        if not is_written or self._clock() - began > SLOW_SECONDS:
            # It may not have been the disk: other processes stop this one too, where they need its processor.
            is_alone = is_written and began - self._slow_at > self._again_seconds
            self._slow_at = self._clock()
            self._hand_over(0.0 if is_alone else self._again_seconds)
        return is_written

    def _lose_some(self, lines: list[bytes]) -> bool:
        self.lost += len(lines)
        return True

    @property
    def _is_bursting(self) -> bool:
        """Whether so much waits that calls which began while there was room cannot be all of it: it is lost then."""
        return self.size >= 2 * self._most_bytes or self._waits >= 2 * MOST_WAITING

    @property
    def _waits(self) -> int:
        """Lines that wait for the thread, whether it has been given them or not."""
        return self._given - self._taken + len(self._held or ())

    def _turn(self) -> Mark:
        """Go on in the spare segment; the thread shall close the last one and make another spare."""
        done = self._file
        self._file, self._spare, self._end = self._spare, -1, Mark(self._end.segment + 1, 0)
        self._queue.put(done)  # Not before: the thread would find the last spare, and make none.
        return self._end

    def _hand_over(self, seconds: float) -> None:
        """The thread shall write, for so long at the least, and until the disk is quick."""
        self._back_at = self._clock() + seconds
        self._is_handed_over = True
        self._queue.put((b"", None))  # It may be asleep.

    def _give(self, waiting: list[_Waiting]) -> None:
        if self._held is not None:
            self._held += waiting
            return
        self._given += len(waiting)
        for one in waiting:
            self._queue.put(one)

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held:
            self._give(held)

    def _heard(self, taken: int, is_quick: bool) -> None:
        """What the thread says after each of its rounds: so many lines are done with, and whether the disk is quick.

        If it is and there are others by now, those which come from here on are held, so that under load, too, there is
        a moment at which the thread has none.
        """
        if self._has_ended:
            return
        is_back = is_quick and taken == self._given
        if is_back:
            self._is_handed_over = False
        self._has_been_heard = True  # Not before: the thread would try the disk where the loop writes by then.
        if not is_quick:
            self._let_go()
        elif not is_back:
            self._held = [] if self._held is None else self._held
            self._queue.put((b"", None))  # It may have written the others by now, and be asleep.
        else:
            held, self._held = self._held, None
            if held and self._put([line for line, _ in held]):
                _done([written for _, written in held if written is not None])
            elif held:
                self._give(held)

    # The thread's part.

    def _serve(self) -> None:
        """Whatever has come while a group was being written is the next one."""
        is_over = False
        while not is_over:
            is_waiting = self._is_handed_over or self._unwritten
            try:
                first = self._queue.get(timeout=self._again_seconds if is_waiting else None)
            except Empty:
                first = (b"", None)
            for task in self._come(first):
                if task is None:
                    is_over = True
                elif isinstance(task, int):
                    os.close(task)
                    self._make_spare()
                elif task[0]:
                    self._unwritten.append(task)
            self._write()
            self._answer()
            if self._has_been_heard and self._is_handed_over:
                self._has_been_heard = False
                self._tell(self._heard, self._taken, self._is_quick())
        self._tell(self._is_over.set)

    def _come(self, first: _Task) -> Iterator[_Task]:
        yield first
        with suppress(Empty):
            while True:
                yield self._queue.get_nowait()

    def _is_quick(self) -> bool:
        """Whether the loop may write: it was long enough ago that it could not, and a zero is written in time."""
        if self._unwritten or self._clock() < self._back_at:
            return False
        began = self._clock()
        try:
            if self._end.offset < self._segment_bytes:
                os.pwrite(self._file, b"\0", self._end.offset)
        except OSError:
            return False
        return self._clock() - began <= SLOW_SECONDS

    def _write(self) -> None:
        try:
            while self._unwritten:
                room = self._segment_bytes - self._end.offset
                group, size = 0, 0
                for line, _ in self._unwritten:
                    if size + len(line) > room:
                        break
                    group, size = group + 1, size + len(line)
                if not group:
                    if len(self._unwritten[0][0]) > min(self._segment_bytes, LONGEST_LINE):
                        self._lose(1)
                    else:
                        self._next_segment()
                    continue
                self._put_all(b"".join(line for line, _ in self._unwritten[:group]))
                done, self._unwritten = self._unwritten[:group], self._unwritten[group:]
                self._taken += group
                self._tell_all(done)
            if self.failing:
                self.failing = False
                self._log.warning("journal_works_again")
        except OSError as error:
            if not self.failing:
                self.failing = True
                self._log.error("journal_failed", extra={"error": error.strerror or str(error)})
            if len(self._unwritten) > MOST_WAITING:
                self._lose(len(self._unwritten) - MOST_WAITING)

    def _put_all(self, text: bytes) -> None:
        """All of it, or none that counts: what a failure leaves behind is written over."""
        at = self._end.offset
        while text:
            count = os.pwrite(self._file, text, at)
            text, at = text[count:], at + count
        self._end = Mark(self._end.segment, at)

    def _lose(self, count: int) -> None:
        lost, self._unwritten = self._unwritten[:count], self._unwritten[count:]
        self.lost += count
        self._taken += count
        self._log.error("journal_lines_lost", extra={"lines": count})
        self._tell_all(lost)

    def _answer(self) -> None:
        """Nobody waits for a disk that takes nothing: what they have to say is kept in memory until it does."""
        if self._unwritten:
            self._tell_all(self._unwritten)
            self._unwritten = [(line, None) for line, _ in self._unwritten]

    def _tell_all(self, group: list[_Waiting]) -> None:
        if waiting := [written for _, written in group if written is not None]:
            self._tell(_done, waiting)

    def _tell(self, hears: Callable[..., None], *what: object) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # The loop has ended: nobody waits any more.
                self._loop.call_soon_threadsafe(hears, *what)

    def _next_segment(self) -> None:
        """Go on in the next file, which has its room already, and give the one after it its own. Raises OSError."""
        segment = self._end.segment + 1
        file = self._spare if self._spare >= 0 else _with_room(_path(self.folder, segment), self._segment_bytes)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._spare, self._end = file, -1, Mark(segment, 0)
        self._make_spare()

    def _make_spare(self) -> None:
        """Unless there is one. A disk that is full by now takes what fits into the segment that there is."""
        if self._spare < 0:
            with suppress(OSError):
                self._spare = _with_room(_path(self.folder, self._end.segment + 1), self._segment_bytes)


def _done(waiting: "list[asyncio.Future[None]]") -> None:
    for written in waiting:
        if not written.done():
            written.set_result(None)


def _path(folder: Path, segment: int) -> Path:
    return folder / f"{segment:0{PREFACE}}"


def _with_room(path: Path, size: int) -> int:
    """A descriptor of the file, which is made with zeros where there is none. Raises OSError."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        _give_room(descriptor, size)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _give_room(descriptor: int, size: int) -> None:
    """Raises OSError."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:  # As on macOS.
        there = os.fstat(descriptor).st_size
        os.pwrite(descriptor, bytes(max(0, size - there)), there)


def read(folder: Path, mark: Mark, end: Mark | None, most: int) -> tuple[list[bytes], Mark]:
    """So many lines of a journal from a mark on at the most, without their ends, and the mark behind them.

    ``end`` is up to where it is written, which is in the last of its segments; None where nobody knows any more: then a
    segment ends where its zeros begin. Raises OSError.
    """
    lines: list[bytes] = []
    while len(lines) < most and (end is None or mark < end):
        path = _path(folder, mark.segment)
        is_last = end is not None and mark.segment == end.segment
        if mark.segment == 0 or (not path.exists() and not is_last):
            following = [segment for segment in segments(folder) if segment > mark.segment]
            if not following:
                break
            mark = Mark(following[0], 0)
            continue
        found, at, is_over = _lines(path, mark.offset, end.offset if is_last and end else None, most - len(lines))
        lines += found
        mark = Mark(mark.segment, at)
        if is_over:
            following = [] if is_last else [segment for segment in segments(folder) if segment > mark.segment]
            if not following:
                break
            mark = Mark(following[0], 0)
    return lines, mark


def _lines(path: Path, at: int, end: int | None, most: int) -> tuple[list[bytes], int, bool]:
    """Some lines of a segment, the place behind them, and whether there are no more."""
    with path.open("rb") as file:
        file.seek(at)
        text = file.read(LONGEST_LINE if end is None else min(LONGEST_LINE, end - at))
    *lines, _ = text.split(b"\n", most)  # The rest was torn: nobody was ever told that it is there.
    zeros = next((place for place, line in enumerate(lines) if line.startswith(b"\0")), len(lines))
    is_over = zeros < len(lines) or not lines
    del lines[zeros:]
    return lines, at + sum(map(len, lines)) + len(lines), is_over


def segments(folder: Path) -> list[int]:
    """The numbers of the segments in a journal's folder, in order."""
    names = (entry.name for entry in os.scandir(folder))
    return sorted(int(name) for name in names if len(name) == PREFACE and name.isdigit())


def left_behind(above: Path) -> Iterator[tuple[Path, int]]:
    """Journals whose processes have gone, each locked by the descriptor that comes with it. Raises OSError."""
    if not above.is_dir():
        return
    for folder in sorted(path for path in above.iterdir() if path.is_dir() and path.name[0] != "."):
        with suppress(BlockingIOError, FileNotFoundError):  # It lives, or has just come to its end.
            lock = locked(folder)
            if folder.is_dir():
                yield folder, lock
            else:
                os.close(lock)


def locked(folder: Path) -> int:
    """A descriptor that holds the folder for this process, for as long as it is open. Raises BlockingIOError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def released(lock: int) -> Iterator[None]:
    """The descriptor of a lock, which ends with the block."""
    try:
        yield
    finally:
        os.close(lock)


def remove(folder: Path) -> None:
    """The whole journal, once all of it is in the book."""
    for segment in segments(folder):
        with suppress(OSError):
            _path(folder, segment).unlink()
    with suppress(OSError):
        folder.rmdir()
