"""Implements ``admin.cli.tools.Tools`` with the real things."""

import asyncio
import os
import pwd
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy import __version__
from proxy.admin import control, proofs, reloading, watching
from proxy.admin.actor import Actor, here
from proxy.admin.cli.tools import DemoTeller, Standing
from proxy.admin.refusals import NotDone
from proxy.bootstrap import clocks
from proxy.bootstrap.desks import desk_over
from proxy.bootstrap.limiting import office_elsewhere
from proxy.bootstrap.storage import make_ready, records
from proxy.config import files
from proxy.config.layers import CREDENTIALS_DIRECTORY
from proxy.config.load import Loaded, load
from proxy.config.settings import Settings
from proxy.late import late
from proxy.ledger.bookkeeping import close_all
from proxy.policy.models import canonical_pattern
from proxy.schema import database

if TYPE_CHECKING:
    from proxy.admin.backup import Copied, copying
    from proxy.admin.desk import Desk
    from proxy.bootstrap import authenticating, demo, serving
    from proxy.schema import copying as databases
    from proxy.web import openapi
else:
    copying = late("proxy.admin.backup.copying")
    databases = late("proxy.schema.copying")
    authenticating = late("proxy.bootstrap.authenticating")
    demo = late("proxy.bootstrap.demo")
    serving = late("proxy.bootstrap.serving")
    openapi = late("proxy.web.openapi")


class Workshop:
    """What the commands are given."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._exposed: set[str] = set()
        """Files of secrets that others may read, where the modes are not the owner's to choose."""

    def now(self) -> datetime:
        return clocks.now()

    def load(self, config: Path | None, flags: Mapping[str, str]) -> Loaded:
        file = files.find(config, self._environment)
        return load(
            text=None if file is None else files.read(file),
            file=None if file is None else str(file),
            environment=self._environment,
            flags=flags,
            read_secret=partial(
                files.read_secret,
                credentials=self._environment.get(CREDENTIALS_DIRECTORY, ""),
                exposed=self._exposed.add,
            ),
            check_pattern=canonical_pattern,
        )

    @asynccontextmanager
    async def desk(self, settings: Settings) -> "AsyncIterator[Desk]":
        async with records(settings) as kept, office_elsewhere(settings, kept.book) as office:
            yield desk_over(kept, settings, office, self._actor())

    def serve(self, settings: Settings, started: Callable[[Standing], None], again: Callable[[], Loaded]) -> None:
        serving.Serving(settings, self._environment, self._exposed, started, again).serve()

    async def reload(self, settings: Settings) -> reloading.Reloaded:
        return await reloading.reload(control.path_in(settings.state_dir))

    def looks(self, settings: Settings) -> AsyncGenerator[watching.Look, None]:
        return watching.looks(control.path_in(settings.state_dir), asyncio.sleep)

    async def ledger_status(self, settings: Settings) -> watching.LedgerStatus:
        return await watching.ledger_status(control.path_in(settings.state_dir))

    async def auth_status(self, settings: Settings) -> proofs.AuthStatus:
        return await proofs.auth_status(control.path_in(settings.state_dir))

    async def backup(self, settings: Settings, file: Path, *, force: bool) -> "Copied":
        _refuse_without(database.file_of(settings.database))
        async with _copied(settings) as there:
            home, now = _home(settings), clocks.now()
            return await copying.back_up(file, there, home, force=force, version=__version__, now=now)

    async def restore(self, settings: Settings, file: Path) -> "Copied":
        make_ready(settings)
        async with _copied(settings) as there:
            copied = await copying.restore(file, there, _home(settings))
        async with records(settings) as kept:
            await close_all(kept.book, clocks.now())  # Their gate went on without this database.
        return copied

    async def explain(self, settings: Settings, token: str) -> Mapping[str, Any]:
        async with records(settings) as kept:
            return await authenticating.explained(settings, kept, token)

    def openapi(self) -> Mapping[str, Any]:
        return openapi.document(__version__)

    def _actor(self) -> Actor:
        """Who runs this process."""
        try:
            login = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:  # A container may run as a user that has no name.
            login = str(os.getuid())
        try:
            terminal = os.ttyname(sys.stdin.fileno())
        except (OSError, ValueError):
            terminal = None
        return here(self._environment, login=login, host=socket.gethostname(), terminal=terminal)

    async def demo(self, real: bool, told: DemoTeller, stay: bool) -> None:
        await demo.demo(real, told, stay)


def _refuse_without(file: str | None) -> None:
    """SQLite would make one where there is none. Raises NotDone."""
    try:
        if file is not None:
            os.close(os.open(file, os.O_RDWR))
    except FileNotFoundError as error:
        raise NotDone(f"There is nothing to back up: there is no {file}.") from error
    except OSError as error:
        raise NotDone(f"{file} cannot be used: {error.strerror}") from error


@asynccontextmanager
async def _copied(settings: Settings) -> "AsyncIterator[databases.Copying]":
    """The database as it stands, whatever its schema."""
    engine = database.engine(settings.database)
    try:
        yield databases.Copying(engine, settings.state_dir / "schema.lock")
    finally:
        await engine.dispose()


def _home(settings: Settings) -> "copying.Home":
    return copying.Home(settings.state_dir, settings.pepper is not None)
