"""The JavaScript clients, installed outside the tree by what its lock says."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).parent / "js"
OLDEST = 18
NEEDED = f"The JavaScript clients need Node.js {OLDEST} or newer, with npm"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process of the tests is in this block with the same folder meanwhile."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def require_node() -> None:
    """Node.js and npm, from Debian where they are missing and may be installed; a test without them has failed."""
    if not _found() and os.geteuid() == 0 and shutil.which("apt-get"):
        packages = ["nodejs", "npm"]
        _done(["apt-get", "update", "-q"])
        _done(
            ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages], DEBIAN_FRONTEND="noninteractive"
        )
    if not _found():
        pytest.fail(f"{NEEDED}; install your system's packages for them, on Debian: apt-get install nodejs npm")
    version = _done(["node", "--version"]).strip()
    if not (match := re.match(r"v(\d+)\.", version)) or int(match[1]) < OLDEST:
        pytest.fail(f"{NEEDED}; this one is {version}")


def installed(cache: Path) -> Path:
    """The programs that ask, beside the modules that they import; these are kept for the next time."""
    files = [FILES / name for name in ("package.json", "package-lock.json", ".npmrc")]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    folder = cache / digest
    complete = folder / "complete"
    folder.mkdir(parents=True, exist_ok=True)
    if not complete.exists():
        for file in files:
            shutil.copy(file, folder)
        _done(["npm", "ci", "--ignore-scripts"], folder)
        complete.touch()
    for program in FILES.glob("*.mjs"):
        shutil.copy(program, folder)
    return folder


def told_by(program: Path, *words: str, **variables: str) -> dict[str, Any]:
    """The one line of JSON that a program prints."""
    done = subprocess.run(
        ["node", str(program), *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _found() -> bool:
    return bool(shutil.which("node") and shutil.which("npm"))


def _done(command: list[str], folder: Path | None = None, **variables: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
