"""``llamagate`` commands in processes of their own, forked from one that has imported everything: to import takes
longer than most commands do, and a test may run dozens.

Run as a program, this is that process. It ends with whoever started it.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from proxy.__main__ import main

ROOT = Path(__file__).parents[2]


class Forge:
    """Where commands are run, one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.commands"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        atexit.register(self.close)

    def run(
        self, words: Sequence[str], folder: Path, variables: Mapping[str, str], seconds: float
    ) -> subprocess.CompletedProcess[str]:
        """The command with these words, however it ended; one that takes longer is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory(prefix="llamagate-command-") as place:
            out, err = Path(place) / "out", Path(place) / "err"
            asked = [list(words), str(folder), dict(variables), str(out), str(err), seconds]
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            status = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(list(words), status, out.read_text(), err.read_text())

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()


@cache
def forge() -> Forge:
    return Forge()


def _serve() -> None:
    for line in sys.stdin:
        words, folder, variables, out, err, seconds = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(words, folder, variables, out, err, seconds)
            _run()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _become(
    words: Sequence[str], folder: str, variables: Mapping[str, str], out: str, err: str, seconds: float
) -> None:
    """What a process of its own would be."""
    written = os.O_CREAT | os.O_WRONLY
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, out, written), (2, err, written)):
        descriptor = os.open(path, flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = ["llamagate", *words]
    signal.alarm(int(seconds))


def _run() -> None:
    """The command, and the end of this process with its status."""
    status = 1  # As Python's own after an exception, which it tells of.
    try:
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001  # Whatever it is, it is told as Python does.
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
