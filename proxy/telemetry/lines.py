"""Lines that are written by a thread, so that whoever logs never waits for whoever reads.

A pipe that nobody reads takes 64 KiB and then stops its writer; so does a disk that does not answer. What cannot be
written in time is lost, and counted.
"""

import errno
import logging
import os
import select
import threading
import time
from collections import deque
from typing import Final, TextIO

MOST_WAITING: Final = 10_000
"""Lines that wait to be written; beyond, the new ones are lost."""
END_SECONDS: Final = 1.0
"""How long the end of the process waits for what is still to be written."""
RETRY_SECONDS: Final = 1.0
GATHER_SECONDS: Final = 0.03
"""How long a line that can wait does so for others: to wake the thread costs more than to make a line."""


class LinesHandler(logging.Handler):
    """Writes to a descriptor, and never to the stream around it: a thread amid a write holds the stream's lock, and a
    process that ends meanwhile would be aborted for it.
    """

    def __init__(self, stream: TextIO, *, most_waiting: int = MOST_WAITING) -> None:
        """Raises OSError where the stream has no descriptor."""
        super().__init__()
        self.lost = 0
        """Lines that nobody will read."""
        self._descriptor = stream.fileno()
        self._most_waiting = most_waiting
        self._lines: deque[bytes] = deque()
        self._has_come = threading.Condition()
        self._is_asleep = False
        """Whether the thread waits for a line; else it will look again by itself."""
        self._is_urgent = False
        self._writing = 0
        # Now, for later there may be no memory left for a thread.
        threading.Thread(target=self._write_all, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
        except Exception:  # noqa: BLE001  # As every handler: a line that cannot be told must not end a call.
            self.handleError(record)
            return
        self.say(line, now=record.levelno >= logging.WARNING)

    def say(self, line: bytes, *, now: bool) -> None:
        """Write a line, with its end: at once, or soon."""
        with self._has_come:
            count = len(self._lines)
            if count >= self._most_waiting:
                self.lost += 1
                return
            self._lines.append(line)
            if (now or count >= self._most_waiting // 2) and not self._is_urgent:
                self._hasten()
            elif self._is_asleep:
                self._is_asleep = False
                self._has_come.notify_all()

    def _hasten(self) -> None:
        self._is_urgent = True
        self._is_asleep = False
        self._has_come.notify_all()

    def flush(self) -> None:
        """Return once everything is written, or after a second where that cannot be."""
        over = time.monotonic() + END_SECONDS
        with self._has_come:
            if self._lines:
                self._hasten()
            while (self._lines or self._writing) and (left := over - time.monotonic()) > 0:
                self._has_come.wait(left)

    def _write_all(self) -> None:
        while True:
            with self._has_come:
                while not self._lines:
                    self._is_asleep = True
                    self._has_come.wait()
                self._has_come.wait_for(lambda: self._is_urgent, GATHER_SECONDS)
                self._is_urgent = False
                group = list(self._lines)
                self._lines.clear()
                self._writing = len(group)
            try:
                written = self._put(b"".join(group))
            except MemoryError:
                written = False
            with self._has_come:
                self._writing = 0
                if not written:
                    self.lost += len(group)
                self._has_come.notify_all()

    def _put(self, text: bytes) -> bool:
        """Whether all of it was taken."""
        rest = memoryview(text)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except OSError as error:
                if error.errno != errno.EAGAIN:  # Who reads has gone, or the disk is full.
                    return False
                select.select((), (self._descriptor,), (), RETRY_SECONDS)
        return True
