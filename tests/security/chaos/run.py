"""Set the stage, let the load run, and let one fault after the other happen to it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.databases import Postgres
from tests.fakes.redis import RedisServer
from tests.fakes.redis_proxy import RedisProxy
from tests.security.chaos.load import CLIENTS, WHOLE, Load
from tests.security.chaos.scene import CannotBeDone, Fault, Found, Scene, quiet
from tests.security.chaos.stage import Stage, TookTooLong, UpstreamProcess

FAULT_SECONDS = 90.0
"""The longest that one fault may take, with what is looked at afterwards."""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one fault."""

    fault: Fault
    found: Found
    seconds: float
    cannot: str | None = None
    """Why it was not done."""

    @property
    def holds(self) -> bool:
        return not self.found.wrong


@asynccontextmanager
async def staged(
    folder: Path,
    redis: RedisServer,
    dice: random.Random,
    *,
    postgres: Postgres | None = None,
    seconds: float,
    words: int = 20,
    pause: float = 0.04,
) -> AsyncIterator[Scene]:
    """Two gates and twenty clients at work; ``pause`` is between two words of a stream."""
    wire = RedisProxy(redis.port)
    await wire.open()
    url = f"sqlite:///{folder}/book.db" if postgres is None else postgres.new_database()
    stage = Stage(folder, UpstreamProcess(folder, pause), redis, wire, url, postgres)
    load = Load(dice, words)
    try:
        await stage.upstream.start()
        await stage.open()
        load.targets = tuple(stage.gates)
        load.start()
        scene = Scene(stage, load, dice, seconds)
        await scene.warm()
        try:
            yield scene
        finally:
            await load.end()
    finally:
        await stage.close()


async def one(scene: Scene, fault: Fault) -> Row:
    """Let it happen, and look at what is left of it."""
    began, found = time.monotonic(), Found()
    cannot = None
    try:
        async with asyncio.timeout(FAULT_SECONDS):
            try:
                await fault.act(scene, found)
            except CannotBeDone as error:
                cannot = str(error)
            except (TookTooLong, OSError) as error:
                found.wrong.append(f"{type(error).__name__}: {error}")
            await scene.settle(found, kills=fault.kills)
    except TimeoutError:
        found.wrong.append(f"not over after {FAULT_SECONDS:g} s")
    return Row(fault, found, time.monotonic() - began, cannot)


async def all_of(
    scene: Scene, faults: Sequence[Fault], over: float, heard: Callable[[Row], None]
) -> tuple[list[Row], list[Fault]]:
    """One after the other, and those for which there was no time; ``over`` is of ``time.monotonic``."""
    rows: list[Row] = []
    for number, fault in enumerate(faults):
        if time.monotonic() > over:
            return rows, list(faults[number:])
        rows.append(await one(scene, fault))
        heard(rows[-1])
    return rows, []


async def soaked(scene: Scene, began: float) -> tuple[list[str], list[str]]:
    """What must hold of the whole run, and what was measured: F30."""
    minutes = (time.monotonic() - began) / 60
    wrong, notes = list[str](), list[str]()
    await scene.load.rest()
    for gate in scene.stage.gates:
        await quiet(gate)
        first, size = scene.first[gate.name], await gate.size()
        wrong += [f"after all of it {one}" for one in scene.grown(gate, first, size)]
        notes.append(
            f"{gate.name}: {first.resident >> 20} to {size.resident >> 20} MiB, {first.files} to {size.files} files, "
            f"{first.tasks} to {size.tasks} tasks"
        )
    whole = sum(1 for verdict in scene.load.verdicts if verdict.kind == WHOLE)
    notes.append(f"{len(scene.load.verdicts)} calls, {whole} of them whole, in {minutes:.1f} min by {CLIENTS} clients")
    return wrong, notes
