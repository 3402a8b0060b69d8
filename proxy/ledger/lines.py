"""Files of JSON lines to which several processes append: whole lines, for nobody's eyes but ours.

Every function waits for the disk, so it is for threads.
"""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

LOCK_TRIES = 100
LOCK_SECONDS = 0.01
"""Between two tries."""
_log = logging.getLogger("proxy.ledger")


def append(path: Path, lines: Sequence[bytes]) -> int:
    """Write all lines, each with its end, at once; how many of them came to stand there whole. Raises OSError.

    What somebody tore before, with no end of its line, is ended first.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        _lock(descriptor)
        size = os.fstat(descriptor).st_size
        is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        end = b"\n" if is_torn else b""
        # What the disk did not take is not sent after it: whoever comes next would find it torn.
        left = os.write(descriptor, end + b"".join(lines)) - len(end)
    finally:
        os.close(descriptor)
    whole = 0
    for line in lines:
        left -= len(line)
        if left < 0:
            break
        whole += 1
    return whole


def _lock(descriptor: int) -> None:
    """Else what another one is just writing could look torn. Nobody of ours holds it for long. Raises OSError."""
    for _ in range(LOCK_TRIES):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_SECONDS)
    raise OSError(errno.EAGAIN, "somebody holds a lock on it")


def last(path: Path, most_bytes: int) -> list[bytes]:
    """The whole lines at the end of a file, of so many bytes together at the most. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return []
    with os.fdopen(descriptor, "rb") as file:
        begin = max(0, os.fstat(descriptor).st_size - most_bytes - 1)
        file.seek(begin)
        text = file.read(most_bytes + 1)
    lines = text.split(b"\n")
    return lines[1 if begin else 0 : -1]


def sweep(folder: Path, is_over: Callable[[str], bool]) -> None:
    """Delete the files whose names say that their time is over; links and folders are left alone. Never raises."""
    try:
        with os.scandir(folder) as found:
            over = [Path(one.path) for one in found if is_over(one.name) and one.is_file(follow_symlinks=False)]
        for path in over:
            with suppress(FileNotFoundError):  # Another process was quicker.
                path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        _log.warning("old_lines_not_deleted", extra={"folder": str(folder), "error": str(error)})
