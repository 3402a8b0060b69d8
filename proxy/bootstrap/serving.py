"""Serve until told to stop: as one process, or as several under a supervisor, each on uvloop's event loop."""

import asyncio
import gc
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TextIO, cast

import uvloop

from proxy.admin import control, gathering, proofs, reloading, remote, watching
from proxy.admin.cli.tools import Standing
from proxy.admin.control import Handler, answering
from proxy.auth.tokens import Tokens
from proxy.bootstrap import clocks
from proxy.bootstrap.authenticating import issuers
from proxy.bootstrap.notifying import NOTIFY_SOCKET, Manager, notifying, watchdog_seconds
from proxy.bootstrap.opening import Opened, gate
from proxy.bootstrap.reloading import AT_ONCE, Reloading
from proxy.bootstrap.sharing import Board
from proxy.bootstrap.signals import heeding_hang_ups, heeding_signals
from proxy.bootstrap.storage import make_ready, records
from proxy.bootstrap.supervising import Supervisor
from proxy.bootstrap.workers import Place, Unhurried, forking, heeding_orders
from proxy.config.load import Loaded
from proxy.config.settings import Settings
from proxy.errors import BackendFailed, GateError, Misconfigured
from proxy.telemetry import logs


@dataclass(slots=True)
class Serving:
    """What a gate was told. ``started`` is called once, with how things stand; ``again`` reads the configuration."""

    settings: Settings
    environment: Mapping[str, str]
    exposed: Collection[str]
    """Files of secrets that others may read, where the modes are not the owner's to choose."""
    started: Callable[[Standing], None]
    again: Callable[[], Loaded]

    def serve(self) -> None:
        """Return once it was told to stop, and every call has its line. Raises Misconfigured, as for a taken port."""
        if self.settings.workers > 1:
            self._supervise()
            return
        self._log_to(sys.stdout)
        self._warn()
        _run(self._alone())

    async def _alone(self) -> None:
        settings = self.settings
        # From before the first call to after the last: a call must not die with its line unwritten.
        with heeding_signals() as stop, heeding_hang_ups() as again:
            async with (
                notifying(self.environment) as manager,
                records(settings) as kept,
                gate(settings, kept, [logs.CallLog()], stop.hastened) as opened,
            ):
                reload = self._reloading(opened)
                again.met_by(_by_signal(reload))
                handlers = {**_handlers(opened), "reload": _by_command(reload)}
                async with control.Control(control.path_in(settings.state_dir), handlers).listening():
                    self.started(opened.standing)
                    manager.ready()
                    _settle()
                    await stop.asked.wait()
                    manager.stopping()

    def _supervise(self) -> None:
        """The processes are forked from this one, which has neither a loop nor a thread. Raises Misconfigured."""
        settings = self.settings
        self._log_to(cast(TextIO, Unhurried()))
        self._warn()
        make_ready(settings)
        board = Board(settings.workers)
        manager = Manager(self.environment.get(NOTIFY_SOCKET) or None)
        is_watched = watchdog_seconds(self.environment, os.getpid()) is not None
        with forking(
            board,
            self._work,
            listen=settings.listen,
            admin_listen=settings.admin_listen,
            state_dir=settings.state_dir,
        ) as hands:
            Supervisor(
                board,
                hands,
                time.monotonic,
                self._renew,
                opened=manager.ready,
                alive=manager.alive if is_watched else lambda: None,
                stopping=manager.stopping,
            ).run()

    def _renew(self) -> None:
        """Take what a gate that goes on would, for the workers that come. Raises GateError."""
        told = self._read_again().settings
        Tokens(issuers(told), _nothing_at, clock=time.monotonic, now=clocks.now)
        self.settings = self.settings.model_copy(update={name: getattr(told, name) for name in AT_ONCE})

    def _work(self, place: Place) -> int:
        """What a worker does. Its exit code is 0 where it was told to stop, and did in order."""
        self._log_to(sys.stdout)
        try:
            _run(self._among_others(place))
        except GateError as error:
            if place.is_first and place.slot.number == 0:
                place.board.complaint.write(error.message.encode())
            else:
                logging.getLogger("proxy.workers").error(
                    "worker_failed", extra={"worker": place.slot.number, "error": error.message}
                )
            return 1
        return 0

    async def _among_others(self, place: Place) -> None:
        settings = self.settings
        mine: dict[str, Handler] = {}
        async with heeding_orders(place) as obedience:
            stop = obedience.stop
            async with (
                answering(place.asked_at, mine),  # Until all of its calls have ended.
                records(settings) as kept,
                gate(settings, kept, [logs.CallLog()], stop.hastened, place) as opened,
            ):
                reload = self._reloading(opened)
                by_command = _by_command(reload)
                obedience.again.met_by(_by_signal(reload))
                mine |= {**_handlers(opened), "reload": by_command}
                if opened.gathering is not None:
                    mine |= opened.gathering.handlers()

                async def reload_first() -> Mapping[str, Any]:
                    return await by_command({})

                workers, number = place.workers, place.slot.number
                handlers = gathering.handlers(workers, number, reload_first, place.board.reloaded)
                async with _answering_commands(place, handlers):
                    place.slot.opened()
                    if place.is_first and number == 0:
                        self.started(replace(opened.standing, workers=settings.workers))
                    _settle()
                    await stop.asked.wait()

    def _reloading(self, opened: Opened) -> Reloading:
        renew = opened.tls.again if opened.tls else None
        return Reloading(self.settings, opened.plans, opened.who.tokens.replace, self._read_again, renew)

    def _read_again(self) -> Loaded:
        """Raises GateError, also where the folder of the file is not ours to look into any more."""
        try:
            return self.again()
        except OSError as error:
            raise Misconfigured(f"The configuration cannot be read: {error.strerror}.") from error

    def _log_to(self, stream: TextIO) -> None:
        form = self.settings.log_format
        pretty = sys.stdout.isatty() if form == "auto" else form == "pretty"
        logs.configure(pretty=pretty, level=self.settings.log_level, stream=stream)

    def _warn(self) -> None:
        for file in sorted(self.exposed):
            logging.getLogger("proxy.config").warning("secret_open_to_others", extra={"file": file})


SELDOM = (20_000, 20, 50)
"""Objects, and collections of a younger generation, after which garbage in circles is looked for: some megabytes."""
TURN_SECONDS = 0.001
"""For how long a thread that brings lines to the book, or reads a large body, keeps the calls waiting at a time."""


def _settle() -> None:
    """What is loaded by now stays, so that no look for garbage has to go through it; and calls leave next to none that
    is not gone by itself. To look as often as Python does by itself takes a sixth of a call.
    """
    gc.freeze()
    gc.set_threshold(*SELDOM)


def _run(serving: Coroutine[Any, Any, None]) -> None:
    sys.setswitchinterval(TURN_SECONDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving)


def _handlers(opened: Opened) -> Mapping[str, Handler]:
    """What this process answers about itself."""
    return {
        **remote.handlers(opened.counting.office),
        **watching.handlers(opened.books, time.monotonic),
        **proofs.handlers(opened.who),
    }


def _by_command(reload: Reloading) -> Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]:
    async def reloaded(_: Mapping[str, object]) -> Mapping[str, object]:
        return reloading.told(reload())

    return reloaded


def _by_signal(reload: Reloading) -> Callable[[], None]:
    def hang_up() -> None:
        with suppress(GateError):  # It is in the log by then, and there is nobody else to tell.
            reload()

    return hang_up


async def _nothing_at(address: str) -> bytes:
    """For keys that are looked at where none are fetched."""
    raise BackendFailed(f"Nothing was to be fetched from {address}.")


@asynccontextmanager
async def _answering_commands(place: Place, handlers: Mapping[str, Handler]) -> AsyncIterator[None]:
    """For all workers, where this gate answers any."""
    if place.control is None:
        yield
        return
    async with answering(place.control, handlers):
        yield
