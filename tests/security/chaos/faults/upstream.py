"""The model server in trouble: every caller is told so, with a status or, where the answer has begun, within it."""

import asyncio
import signal
import time

from tests.security.chaos.load import BROKEN, TOLD, counted
from tests.security.chaos.scene import FAILED, SILENT, Found, Scene
from tests.security.chaos.upstream import Mood

SOON_SECONDS = 1.5


async def down(scene: Scene, found: Found) -> None:
    """F8"""
    upstream = scene.stage.upstream
    async with scene.window(found, FAILED) as window:
        upstream.kill()
        await scene.hold()
        for one in scene.load.verdicts:
            if one.began > window.began + 0.5 and one.ended - one.began > SOON_SECONDS:
                found.wrong.append(f"{one.kind} after {one.ended - one.began:.1f} s")
        await upstream.start()
    if not found.seen["503 backend_down"]:
        found.wrong.append("nobody was told that the model server is down")


async def killed(scene: Scene, found: Found) -> None:
    """F9"""
    upstream = scene.stage.upstream
    for _ in range(scene.rounds):
        async with scene.window(found, FAILED):
            await asyncio.sleep(0.3 + scene.dice.random() * 0.3)  # Until streams have begun.
            upstream.kill()
            await upstream.start()
    if not found.seen[TOLD]:
        found.wrong.append("nobody was told within the stream that it broke off")


async def moody(scene: Scene, found: Found, mood: Mood, allowed: set[str], seconds: float = 1.0) -> None:
    """The upstream behaves so for a while."""
    async with scene.window(found, allowed):
        await scene.stage.upstream.be(mood)
        await asyncio.sleep(scene.seconds * seconds)
        await scene.stage.upstream.be(Mood.WELL)


async def hangs(scene: Scene, found: Found) -> None:
    """F10"""
    for mood in (Mood.MUTE, Mood.NO_BODY, Mood.FALLS_SILENT):
        await moody(scene, found, mood, SILENT, 0.5)
    if not found.seen["504 backend_silent"] or not found.seen[TOLD]:
        found.wrong.append("not every kind of silence was told")


async def garbage(scene: Scene, found: Found) -> None:
    """F11"""
    for mood in (Mood.GARBAGE, Mood.DOUBLES, Mood.SWITCHES, Mood.REDIRECTS, Mood.RESETS, Mood.CUTS):
        await moody(scene, found, mood, FAILED, 0.3)
    await moody(scene, found, Mood.BUSY, {"503 model_server_busy"}, 0.3)
    await moody(scene, found, Mood.DRIPS, SILENT, 0.3)


async def restarts(scene: Scene, found: Found) -> None:
    """F12"""
    for _ in range(4):
        async with scene.window(found, FAILED):
            scene.stage.upstream.kill()
            await asyncio.sleep(scene.dice.random() * 0.3)
            await scene.stage.upstream.start()
    found.notes.append("no connection is used twice, so none is stale")


async def vanishes(scene: Scene, found: Found) -> None:
    """F14"""
    began = time.monotonic()
    await moody(scene, found, Mood.VANISHES, SILENT | {BROKEN}, 0.5)
    longest = max((one.ended - one.began for one in scene.load.since(began)), default=0.0)
    found.notes.append(f"the longest call took {longest:.1f} s, with 2 s of patience")


async def stopped(scene: Scene, found: Found) -> None:
    """Of F10: it takes connections, or the kernel for it, and does nothing."""
    async with scene.window(found, SILENT | FAILED):
        scene.stage.upstream.signal(signal.SIGSTOP)
        await scene.hold()
        scene.stage.upstream.signal(signal.SIGCONT)
    found.notes.append(str(dict(counted(scene.load.since(time.monotonic() - 1)))))
