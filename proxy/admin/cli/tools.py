"""What the commands need to be given. ``bootstrap`` implements it, and passes it as the context's object."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from proxy.admin.proofs import AuthStatus
from proxy.admin.reloading import Reloaded
from proxy.admin.watching import LedgerStatus, Look
from proxy.config.load import Loaded
from proxy.config.settings import Settings
from proxy.errors import GateError
from proxy.vocabulary import Entry

if TYPE_CHECKING:
    from proxy.admin.backup import Copied
    from proxy.admin.desk import Desk

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand when the gate has opened."""

    address: str
    """``http://host:port``"""
    upstream: str
    upstream_answers: bool
    upstream_version: str | None
    keys: int
    readable: bool
    """Whether other machines can reach the address, and what they send can be read on the way."""
    state_dir: Path
    admin_address: str | None = None
    """Of the admin listener, ``http://host:port``; None where there is none."""
    admin_public: bool = False
    """Whether other machines can reach that one."""
    workers: int = 1
    """How many processes answer."""


class DemoTeller(Protocol):
    """Is told what happens in a demo, as it happens. Texts may hold anything; the teller makes them safe to show."""

    def standing(self, standing: Standing) -> None:
        """The gate is open, in front of this upstream."""

    def asked(self, command: str) -> None:
        """A call is about to be made, told as the command that would make it. Holds no key."""

    def streamed(self, piece: str) -> None:
        """A piece of the answer's text came; pieces follow one another on the same line."""

    def refused(self, status: int, body: str) -> None:
        """The call was refused."""

    def entry(self, entry: Entry) -> None:
        """The ledger has this line for it."""

    def paste(self, lines: Sequence[str]) -> None:
        """How to go on by hand. The only place where a key may be told."""


class Tools(Protocol):
    """Everything that a command does beyond reading its options and printing."""

    def load(self, config: Path | None, flags: Mapping[str, str]) -> Loaded:
        """What we were told to be. Raises ``Mistakes``."""

    def desk(self, settings: Settings) -> "AbstractAsyncContextManager[Desk]":
        """The desk, with its database open. Raises ``Misconfigured`` where that cannot be opened."""

    def serve(self, settings: Settings, started: Callable[[Standing], None], again: Callable[[], Loaded]) -> None:
        """Serve until a signal, having told once how things stand; ``again`` reads the configuration anew.

        Raises ``Misconfigured``, as for a taken port.
        """

    async def reload(self, settings: Settings) -> Reloaded:
        """What the gate that runs in the settings' state directory makes of its configuration, once read again.

        Raises ``GateNotRunning``, and ``NotDone`` where it does not answer.
        """

    async def backup(self, settings: Settings, file: Path, *, force: bool) -> "Copied":
        """Write all that is kept into this file, whether the gate runs or not; ``force`` replaces one that is there.

        Raises ``NotDone`` and ``Misconfigured``.
        """

    async def restore(self, settings: Settings, file: Path) -> "Copied":
        """Bring back what such a file holds, into a database with nothing in it. Raises ``NotDone`` and
        ``Misconfigured``; nothing was changed then.
        """

    def looks(self, settings: Settings) -> AsyncGenerator[Look, None]:
        """What goes on in the running gate, a look a second, for ever. Raises as ``reload`` does."""

    async def ledger_status(self, settings: Settings) -> LedgerStatus:
        """How the ledger of the running gate fares. Raises as ``reload`` does."""

    async def auth_status(self, settings: Settings) -> AuthStatus:
        """Who was let in by the running gate, and why others were not. Raises as ``reload`` does."""

    async def explain(self, settings: Settings, token: str) -> Mapping[str, Any]:
        """What the gate would make of this token: ``issuer``, ``user``, ``team``, ``plan``, as far as they are known,
        and ``refused``, which says why it would be refused and is None where it would be let in.

        Plain JSON values, and never the token. Raises ``GateError`` where nobody can tell, as while its issuer is away.
        """

    def openapi(self) -> Mapping[str, Any]:
        """The OpenAPI document of this version."""

    async def demo(self, real: bool, told: DemoTeller, stay: bool) -> None:
        """A gate that keeps nothing, before a scripted Ollama or a small real model, and some calls through it.

        Returns after the calls, or with ``stay`` only at a signal.
        """

    def now(self) -> datetime:
        """The wall clock, with a time zone."""


def noted(
    tools: Tools, settings: Settings, name: str, subject: str = "", details: Mapping[str, Any] | None = None
) -> str | None:
    """Write into the audit trail what was done already; where that fails, why. That it was done stays true."""
    try:
        at_desk(tools, settings, lambda desk: desk.record(name, subject, details))
    except GateError as error:
        return f"That was done, and could not be written into the audit trail: {error.message}"
    return None


def at_desk(tools: Tools, settings: Settings, act: "Callable[[Desk], Awaitable[Result]]") -> Result:
    """What comes of one act at the desk. Raises what ``Tools.desk`` and the act raise."""

    async def errand() -> Result:
        async with tools.desk(settings) as desk:
            return await act(desk)

    return asyncio.run(errand())
