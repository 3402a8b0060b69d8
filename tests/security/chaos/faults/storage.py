"""Disks that are full and databases that take nothing: calls go on, and their rows come later."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.fakes.databases import Postgres
from tests.security.chaos.scene import CannotBeDone, Found, Scene, quiet
from tests.security.chaos.stage import Gate

NO_ROOM = {"503 ledger_full", "503 storage_failed"}
DISK = "24m"
"""Two segments of a journal are 8 MiB, and the database needs some."""


@contextmanager
def own_disk(above: Path) -> Iterator[Path]:
    """A small one. Raises CannotBeDone."""
    place = above / f"disk-{time.monotonic_ns()}"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", place], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        raise CannotBeDone(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=False)


def fill(place: Path) -> Path:
    """Until nothing more goes on it."""
    file = place / "filler"
    with suppress(OSError), file.open("wb", buffering=0) as filler:
        while True:
            filler.write(b"\0" * 65536)
    with suppress(OSError), file.open("ab", buffering=0) as filler:
        while True:
            filler.write(b"\0" * 64)
    return file


async def full(scene: Scene, found: Found) -> None:
    """F15"""
    with own_disk(scene.stage.folder) as place:
        async with scene.stage.guest("full", state=place) as gate:
            with scene.load.over(gate):
                async with scene.window(found, NO_ROOM):
                    file = fill(place)
                    behind = await behind_most(gate, 3 * scene.seconds)
                    file.unlink()
                await written(gate, found)
                found.notes.append(f"full: the book was {behind:.1f} s behind")
                if not behind and not NO_ROOM & found.seen.keys():
                    found.wrong.append("the disk was not full, so nothing was shown")
            await scene.load.rest()
            await quiet(gate)
            with sqlite3.connect(place / "book.db") as database:
                (said,) = database.execute("PRAGMA integrity_check").fetchone()
            database.close()
            if said != "ok":
                found.wrong.append(f"the database says {said}")
            found.wrong += await scene.unbalanced()
            scene.load.go_on()
            await gate.stop()
        scene.stage.guests.remove(gate)  # Its disk is gone, and with it what there was to compare.


async def written(gate: Gate, found: Found) -> None:
    """The book takes rows again."""
    began = time.monotonic()
    while (await gate.figures())["llamagate_book_behind_seconds"]:
        if time.monotonic() > began + 20:
            found.wrong.append("the book is not written again")
            return
        await asyncio.sleep(0.1)
    found.notes.append(f"the book was written again after {time.monotonic() - began:.1f} s")


async def behind_most(gate: Gate, seconds: float) -> float:
    """How far the book was behind meanwhile, in seconds, at the most."""
    over, most = time.monotonic() + seconds, 0.0
    while time.monotonic() < over:
        most = max(most, (await gate.figures())["llamagate_book_behind_seconds"])
        await asyncio.sleep(0.1)
    return most


def file_of(gate: Gate) -> Path:
    return Path(str(gate.told["database_url"]).removeprefix("sqlite:///"))


async def locked(scene: Scene, found: Found) -> None:
    """F16"""
    if not str(scene.stage.database_url).startswith("sqlite"):
        await away(scene, found)
        return
    database = sqlite3.connect(file_of(scene.a), isolation_level=None)
    async with scene.window(found):
        database.execute("BEGIN EXCLUSIVE")
        before = _rows(scene.a)
        await scene.hold()
        after = _rows(scene.a)
        database.rollback()
    found.notes.append(f"locked: {after - before} rows came meanwhile")
    async with scene.window(found):
        database.execute(
            "CREATE TRIGGER trouble BEFORE INSERT ON calls "
            "BEGIN SELECT RAISE(FAIL, 'attempt to write a readonly database'); END"
        )
        await scene.hold(0.5)
        database.execute("DROP TRIGGER trouble")
    database.close()
    for gate in scene.stage.gates:
        await written(gate, found)
    if not scene.is_short:
        await corrupt(scene, found)


def _rows(gate: Gate) -> int:
    with sqlite3.connect(file_of(gate)) as database:
        (count,) = database.execute("SELECT count(*) FROM calls").fetchone()
    database.close()
    return int(count)


async def away(scene: Scene, found: Found) -> None:
    """PostgreSQL is stopped and comes back."""
    server: Postgres | None = scene.stage.postgres
    assert server is not None
    async with scene.window(found, {"503 storage_failed", "503 auth_unavailable"}):
        await asyncio.to_thread(server.stop)
        await scene.hold()
        await asyncio.to_thread(server.start)
    for gate in scene.stage.gates:
        await written(gate, found)


async def corrupt(scene: Scene, found: Found) -> None:
    """A gate does not start on a database that is none."""
    async with scene.stage.guest("corrupt", begins=False) as gate:
        file = file_of(gate)
        for leftover in (file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
            leftover.unlink(missing_ok=True)
        size = file.stat().st_size
        with file.open("r+b") as opened:
            opened.seek(0)
            opened.write(os.urandom(min(size, 16384)))
        before = len(gate.complaints)
        process = gate.spawn()
        await gate.ended()
        said = gate.complaints[before:].decode()
        found.notes.append(f"corrupt: refused with {process.returncode}")
        if process.returncode == 0 or "Traceback" in said or "database" not in said:
            found.wrong.append(f"on a broken database it ended with {process.returncode} and said {said[-300:]!r}")
    scene.stage.guests.remove(gate)
    shutil.rmtree(gate.folder)
