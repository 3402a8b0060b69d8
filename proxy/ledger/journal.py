"""Where every step of a call is on disk before anybody builds on it, whatever becomes of the database or the process.

A journal is a folder of segments, each a file of lines that is only ever appended to. A thread writes whatever has come
while it wrote before, so that the loop never waits for the disk.

A segment gets its room before it is needed, and the next one too: a disk that others have filled still takes what is
under way. What is written survives the process at once, and the machine as soon as the system brings it to the disk or
the book has it.
"""

import asyncio
import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from proxy.ledger import Mark

SEGMENT_BYTES = 4 * 2**20
PREFACE = 8
"""Digits of a segment's name."""
LONGEST_LINE = 2**20
"""A line beyond is none of ours."""
MOST_WAITING = 20_000
"""Lines that wait for a disk that takes none; beyond, the oldest are lost."""
AGAIN_SECONDS = 0.5
"""Between two tries on a disk that takes nothing."""
END_SECONDS = 10.0
"""How long the end waits for a disk that says neither yes nor no."""

_Waiting = tuple[bytes, "asyncio.Future[None] | None"]


class Journal:
    """One process's own. Open it with ``begin``, then ``end`` and ``close`` it."""

    def __init__(
        self, folder: Path, *, most_bytes: int, segment_bytes: int = SEGMENT_BYTES, again_seconds: float = AGAIN_SECONDS
    ) -> None:
        """``most_bytes`` is how much may wait for the book; beyond, the journal is full, though it takes more."""
        self.folder = folder
        self._most_bytes = most_bytes
        self._segment_bytes = segment_bytes
        self._again_seconds = again_seconds
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock: int | None = None
        self._file = -1
        self._end = Mark()
        self._unwritten: list[_Waiting] = []
        self._forgotten = Mark()
        self.lost = 0
        """Lines that no disk ever took."""
        self.failing = False
        """Whether the disk takes nothing at the moment."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._log = logging.getLogger("proxy.ledger")

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def size(self) -> int:
        """Bytes that wait for the book."""
        segments = self._end.segment - self._forgotten.segment
        return segments * self._segment_bytes + self._end.offset - self._forgotten.offset

    @property
    def full(self) -> bool:
        """Whether no other call should begin."""
        return self.failing or self.size >= self._most_bytes or self._queue.qsize() >= MOST_WAITING

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
        self._thread = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._thread.start()

    def keep(self, line: bytes) -> "asyncio.Future[None]":
        """Write a line; the future is done once it is written, or is known to have to wait for the disk."""
        written = asyncio.get_running_loop().create_future()
        if self._is_bursting:
            self.lost += 1
            written.set_result(None)
        else:
            self._queue.put((line, written))
        return written

    def note(self, line: bytes) -> None:
        """Write a line that nobody waits for."""
        if self._is_bursting:
            self.lost += 1
        else:
            self._queue.put((line, None))

    @property
    def _is_bursting(self) -> bool:
        """Whether so much waits that calls which began while there was room cannot be all of it: it is lost then."""
        return self.size >= 2 * self._most_bytes or self._queue.qsize() >= 2 * MOST_WAITING

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
        self._queue.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, END_SECONDS)
            if self._thread.is_alive():
                self._log.error("journal_given_up")
                return []
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        rest, self._unwritten = [line.rstrip(b"\n") for line, _ in self._unwritten], []
        return rest

    def close(self) -> None:
        """Let go of the folder, once it has ended: whoever begins next may take it over."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _write_all(self) -> None:
        """The thread: whatever has come while a group was being written is the next."""
        ended = False
        while not ended:
            try:
                first = self._queue.get(timeout=self._again_seconds if self._unwritten else None)
            except Empty:
                first = (b"", None)
            for waiting in self._come(first):
                if waiting is None:
                    ended = True
                elif waiting[0]:
                    self._unwritten.append(waiting)
            self._write()
            self._answer()

    def _come(self, first: _Waiting | None) -> Iterator[_Waiting | None]:
        yield first
        with suppress(Empty):
            while True:
                yield self._queue.get_nowait()

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
                self._put(b"".join(line for line, _ in self._unwritten[:group]))
                done, self._unwritten = self._unwritten[:group], self._unwritten[group:]
                self._tell(done)
            if self.failing:
                self.failing = False
                self._log.warning("journal_works_again")
        except OSError as error:
            if not self.failing:
                self.failing = True
                self._log.error("journal_failed", extra={"error": error.strerror or str(error)})
            if len(self._unwritten) > MOST_WAITING:
                self._lose(len(self._unwritten) - MOST_WAITING)

    def _put(self, text: bytes) -> None:
        """All of it, or none that counts: what a failure leaves behind is written over."""
        at = self._end.offset
        while text:
            count = os.pwrite(self._file, text, at)
            text, at = text[count:], at + count
        self._end = Mark(self._end.segment, at)

    def _lose(self, count: int) -> None:
        lost, self._unwritten = self._unwritten[:count], self._unwritten[count:]
        self.lost += count
        self._log.error("journal_lines_lost", extra={"lines": count})
        self._tell(lost)

    def _answer(self) -> None:
        """Nobody waits for a disk that takes nothing: what they have to say is kept in memory until it does."""
        if self._unwritten:
            self._tell(self._unwritten)
            self._unwritten = [(line, None) for line, _ in self._unwritten]

    def _tell(self, group: list[_Waiting]) -> None:
        waiting = [written for _, written in group if written is not None]
        if waiting and self._loop is not None:
            with suppress(RuntimeError):  # The loop has ended: nobody waits any more.
                self._loop.call_soon_threadsafe(_done, waiting)

    def _next_segment(self) -> None:
        """Go on in the next file, which has its room already, and give the one after it its own. Raises OSError."""
        segment = self._end.segment + 1
        file = _with_room(_path(self.folder, segment), self._segment_bytes)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._end = file, Mark(segment, 0)
        with suppress(OSError):  # A disk that is full by now takes what fits into this one.
            os.close(_with_room(_path(self.folder, segment + 1), self._segment_bytes))


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
        if is_last:
            break
        if is_over:
            following = [segment for segment in segments(folder) if segment > mark.segment]
            if not following:
                break
            mark = Mark(following[0], 0)
    return lines, mark


def _lines(path: Path, at: int, end: int | None, most: int) -> tuple[list[bytes], int, bool]:
    """Lines of a segment, the place behind them, and whether there are no more."""
    lines: list[bytes] = []
    with path.open("rb") as file:
        file.seek(at)
        while len(lines) < most:
            if end is not None and at >= end:
                return lines, at, True
            line = file.readline(LONGEST_LINE)
            if not line.endswith(b"\n") or line.startswith(b"\0"):
                return lines, at, True  # A line without its end was torn: nobody was ever told that it is there.
            at += len(line)
            lines.append(line.rstrip(b"\n"))
    return lines, at, False


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
