"""``llamagate`` in processes of their own, forked from one that has imported everything: to import takes longer than
most commands do, and a test may run dozens.

Run as a program, this is that process. It ends with whoever started it.
"""

import asyncio
import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from proxy import __main__ as program
from proxy.late import late

if TYPE_CHECKING:
    from proxy.demo import scripted
else:
    scripted = late("proxy.demo.scripted")

ROOT = Path(__file__).parents[2]
SOON = (
    *("alembic.command", "proxy.schema.migrating", "sqlalchemy.dialects.sqlite.aiosqlite", "pydantic.type_adapter"),
    *("proxy.admin.cli.keys", "proxy.admin.cli.sheet", "proxy.admin.cli.usage", "proxy.admin.desk", "typer._adapters"),
    *("proxy.admin.cli.serve", "proxy.bootstrap.authenticating", "proxy.bootstrap.serving", "uvloop"),
    "proxy.demo.scripted",
)
"""What is loaded when it is needed, and is by most of them."""
LOOK_SECONDS = 0.005


@dataclass
class Forked:
    """A process that somebody else has started, with what ``subprocess.Popen`` has for one's own."""

    pid: int
    _end: Path
    """A file that is there once it has ended, with its status."""
    returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and self._end.exists():
            self.returncode = int(self._end.read_text())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        over = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if over is not None and time.monotonic() > over:
                raise subprocess.TimeoutExpired([f"process {self.pid}"], timeout or 0)
            time.sleep(LOOK_SECONDS)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forge:
    """Where commands are run, one at a time, and gates begun."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._place = tempfile.TemporaryDirectory(prefix="llamagate-commands-")
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
        with tempfile.TemporaryDirectory(dir=self._place.name) as place:
            out, err = Path(place) / "out", Path(place) / "err"
            status = self._ask("run", words, folder, variables, out, err, seconds)
            return subprocess.CompletedProcess(list(words), status, out.read_text(), err.read_text())

    def gate(self, words: Sequence[str], folder: Path, variables: Mapping[str, str], out: Path, err: Path) -> Forked:
        """The command with these words, in a session of its own, from when it has begun."""
        return self._begun("gate", words, folder, variables, out, err)

    def script(self, words: Sequence[str], folder: Path, variables: Mapping[str, str], out: Path, err: Path) -> Forked:
        """The stand-in for Ollama, with how many seconds it pauses before each word."""
        return self._begun("script", words, folder, variables, out, err)

    def _begun(
        self, what: str, words: Sequence[str], folder: Path, variables: Mapping[str, str], out: Path, err: Path
    ) -> Forked:
        end = Path(tempfile.mkdtemp(dir=self._place.name)) / "end"
        return Forked(self._ask(what, words, folder, variables, out, err, end), end)

    def _ask(
        self,
        what: str,
        words: Sequence[str],
        folder: Path,
        variables: Mapping[str, str],
        out: Path,
        err: Path,
        more: float | Path,
    ) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        last = more if isinstance(more, float) else str(more)
        asked = [what, list(words), str(folder), dict(variables), str(out), str(err), last]
        with self._lock:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()
        self._place.cleanup()


@cache
def forge() -> Forge:
    return Forge()


def _serve() -> None:
    program.prepare()
    for name in SOON:
        import_module(name)
    keepers: list[int] = []
    for line in sys.stdin:
        what, words, folder, variables, out, err, last = json.loads(line)
        keepers = [pid for pid in keepers if os.waitpid(pid, os.WNOHANG) == (0, 0)]
        child = os.fork()
        if child:
            if what == "run":
                _, status = os.waitpid(child, 0)
                _tell(os.waitstatus_to_exitcode(status))
            else:
                keepers.append(child)
            continue
        if what == "run":
            signal.alarm(int(last))
        else:
            _keep(Path(last))
        _become(words, folder, variables, out, err)
        _run(_script if what == "script" else program.run)


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _keep(end: Path) -> None:
    """Return in a child of this process, which writes down how it ended."""
    child = os.fork()
    if child == 0:
        os.setsid()
        return
    _tell(child)
    _, status = os.waitpid(child, 0)
    part = end.with_suffix(".part")
    part.write_text(str(os.waitstatus_to_exitcode(status)))
    part.rename(end)  # Whoever looks finds all of it or nothing.
    os._exit(0)


def _become(words: Sequence[str], folder: str, variables: Mapping[str, str], out: str, err: str) -> None:
    """What a process of its own would be."""
    written = os.O_CREAT | os.O_WRONLY
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, out, written), (2, err, written)):
        descriptor = os.open(path, flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = ["llamagate", *words]


def _script() -> None:
    async def answer() -> None:
        sys.stdout.write(f"The script answers on {(await scripted.start(pause=float(sys.argv[1]))).url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()

    asyncio.run(answer())


def _run(what: Callable[[], None]) -> None:
    """It, and the end of this process with its status."""
    status = 1  # As Python's own after an exception, which it tells of.
    try:
        what()
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
