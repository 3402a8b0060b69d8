"""``llamagate demo``: a gate that keeps nothing, before a stand-in for Ollama."""

import asyncio
import sys
import tempfile
from pathlib import Path

import platformdirs

from proxy.admin.actor import Actor
from proxy.admin.cli.tools import DemoTeller
from proxy.bootstrap.desks import desk_over
from proxy.bootstrap.opening import gate
from proxy.bootstrap.signals import heeding_signals
from proxy.bootstrap.storage import records
from proxy.config.settings import Settings
from proxy.demo import real as real_model
from proxy.demo import scripted, tour, weights
from proxy.demo.standing import Standing as DemoStanding
from proxy.telemetry import logs
from proxy.vocabulary import Entry

DEMO = Actor("llamagate demo", "here")


async def demo(real: bool, told: DemoTeller, stay: bool) -> None:
    """Returns after the calls, or with ``stay`` only at a signal."""
    logs.configure(pretty=False, level="error", stream=sys.stderr)
    stand_in = await (_real_model() if real else scripted.start())
    try:
        with tempfile.TemporaryDirectory(prefix="llamagate-demo-") as folder:
            # Not what the owner configured: a demo must touch nothing of theirs.
            settings = Settings(listen="127.0.0.1:0", upstream=stand_in.url, state_dir=Path(folder))
            await _tour(settings, told, stay)
    finally:
        await stand_in.stop()


async def _real_model() -> DemoStanding:
    folder = Path(platformdirs.user_cache_dir("llamagate", appauthor=False))
    file = weights.find(folder)
    if file is None:
        file = await asyncio.to_thread(weights.fetch, folder)
    return await real_model.start(file)


class _Heard:
    """A listener that keeps what it was told."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def recorded(self, entry: Entry) -> None:
        self.entries.append(entry)


async def _tour(settings: Settings, told: DemoTeller, stay: bool) -> None:
    heard = _Heard()
    async with records(settings) as kept, gate(settings, kept, [heard]) as opened:
        address = opened.standing.address
        key = (await desk_over(kept, settings, opened.counting.office, DEMO).create_key("alice", note="demo")).secret
        told.standing(opened.standing)
        await tour.take(address, key, told)
        for entry in heard.entries:
            told.entry(entry)
        told.paste(tour.to_go_on(address, key))
        if stay:
            with heeding_signals() as stop:
                await stop.asked.wait()
