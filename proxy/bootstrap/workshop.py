"""Implements ``admin.cli.tools.Tools`` with the real things."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from proxy.admin import control, reloading, remote
from proxy.admin.cli.tools import DemoTeller, Standing
from proxy.admin.desk import Desk
from proxy.bootstrap import clocks, demo
from proxy.bootstrap.limiting import office_elsewhere
from proxy.bootstrap.opening import Opened, desk_over, gate
from proxy.bootstrap.reloading import Reloading
from proxy.bootstrap.signals import heeding_signals
from proxy.bootstrap.storage import records
from proxy.config import files
from proxy.config.load import Loaded, load
from proxy.config.settings import Settings
from proxy.policy.models import canonical_pattern
from proxy.telemetry import logs


class Workshop:
    """What the commands are given."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def now(self) -> datetime:
        return clocks.now()

    def load(self, config: Path | None, flags: Mapping[str, str]) -> Loaded:
        file = files.find(config, self._environment)
        return load(
            text=None if file is None else files.read(file),
            file=None if file is None else str(file),
            environment=self._environment,
            flags=flags,
            read_secret=files.read_secret,
            check_pattern=canonical_pattern,
        )

    @asynccontextmanager
    async def desk(self, settings: Settings) -> AsyncIterator[Desk]:
        async with records(settings) as kept, office_elsewhere(settings, kept.book) as office:
            yield desk_over(kept, settings, office)

    async def serve(self, settings: Settings, started: Callable[[Standing], None], again: Callable[[], Loaded]) -> None:
        pretty = sys.stdout.isatty() if settings.log_format == "auto" else settings.log_format == "pretty"
        logs.configure(pretty=pretty, level=settings.log_level)
        with heeding_signals() as stop:  # From before the first call on: a call must not die with its line unwritten.
            async with (
                records(settings) as kept,
                gate(settings, kept, [logs.CallLog()]) as opened,
                _asked_by_its_owner(settings, opened, again),
            ):
                started(opened.standing)
                await stop.wait()

    async def reload(self, settings: Settings) -> reloading.Reloaded:
        return await reloading.reload(control.path_in(settings.state_dir))

    async def demo(self, real: bool, told: DemoTeller, stay: bool) -> None:
        await demo.demo(real, told, stay)


@asynccontextmanager
async def _asked_by_its_owner(settings: Settings, opened: Opened, again: Callable[[], Loaded]) -> AsyncIterator[None]:
    """The gate answers at its control socket, and takes SIGHUP for the wish to read its configuration again."""
    reload = Reloading(settings, opened.plans, again)

    async def reloaded(_: Mapping[str, object]) -> Mapping[str, object]:
        return reloading.told(reload())

    handlers = {**remote.handlers(opened.counting.office), "reload": reloaded}
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        async with control.Control(control.path_in(settings.state_dir), handlers).listening():
            yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
