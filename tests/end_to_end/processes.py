"""Processes of our own, each in a group of its own that its context manager ends: asked first, then made to."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.end_to_end.commands import Forked

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 10.0
LOOK_EVERY_SECONDS = 0.02

T = TypeVar("T")

Start = Callable[[Sequence[str], Path, Mapping[str, str], Path, Path], Forked]
"""As ``Forge.gate``."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process that has said where it answers."""

    url: str
    process: subprocess.Popen[bytes] | Forked
    log: Path
    """Where all that it says on stderr goes; what it says on stdout stands beside it."""


def python(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]


def environment(folder: Path) -> dict[str, str]:
    """Ours, without what the owner of this machine told a gate of theirs; everything is kept in the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LLAMAGATE_")}
    own = {"LLAMAGATE_STATE_DIR": str(folder / "state"), "XDG_CONFIG_HOME": str(folder / "config")}
    return {**kept, **own, "PYTHONPATH": str(ROOT)}


@contextmanager
def running(
    command: Sequence[str],
    folder: Path,
    says: re.Pattern[str],
    variables: Mapping[str, str],
    start: Start | None = None,
) -> Iterator[Running]:
    """The command, from when it has told its address on stdout or stderr until the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    out, err = folder / "out.log", folder / "err.log"
    for log in (out, err):
        log.write_bytes(b"")
    process = (start or _started)(command, folder, variables, out, err)
    try:

        def told() -> str | None:
            if process.poll() is not None:
                pytest.fail(f"{' '.join(command)} ended with {process.returncode}:\n{out.read_text()}{err.read_text()}")
            match = says.search(out.read_text() + err.read_text())
            return match[1] if match else None

        yield Running(until(told, START_SECONDS, " ".join(command)), process, err)
    finally:
        _end(process)


def _started(
    command: Sequence[str], folder: Path, variables: Mapping[str, str], out: Path, err: Path
) -> subprocess.Popen[bytes]:
    with out.open("wb") as stdout, err.open("wb") as stderr:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.PIPE,  # A leash, for whoever takes it: it ends with us, even when we are killed.
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes] | Forked) -> None:
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # And whatever it has started.
    process.wait()
    if isinstance(process, subprocess.Popen) and process.stdin is not None:
        process.stdin.close()


def until(look: Callable[[], T | None], seconds: float, awaited: str) -> T:
    """What the look finds, as soon as it finds something; a failure when the time is over."""
    over = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > over:
            pytest.fail(f"After {seconds:g} seconds still nothing: {awaited}")
        time.sleep(LOOK_EVERY_SECONDS)
    return found
