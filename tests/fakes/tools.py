"""What the commands need, with nothing behind it."""

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from proxy.admin.actor import Actor
from proxy.admin.backup import Copied
from proxy.admin.cli.tools import DemoTeller, Standing
from proxy.admin.desk import Desk
from proxy.admin.desk.clerk import Mint
from proxy.admin.office import LimitsOffice, Status, StoreOffice
from proxy.admin.proofs import AuthStatus
from proxy.admin.reloading import Reloaded
from proxy.admin.watching import LedgerStatus, Look
from proxy.auth import Registry
from proxy.config.load import Loaded, load
from proxy.config.settings import Settings
from proxy.errors import GateError
from proxy.ledger import Book
from proxy.limits import Moment
from proxy.limits.memory import MemoryStore
from proxy.vocabulary import Entry, Now, Outcome, Plan, Usage
from tests.fakes.book import FakeBook
from tests.fakes.keys import FakeRegistry

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

MOMENT = Moment(steady=0, wall=round(NOON.timestamp() * 1_000_000))
"""Noon on the clocks of the limits."""


ACTOR = Actor("olga", "gatehouse, pts/3")


def minter() -> Mint:
    """Keys that count up, k1, k2, …; secrets count up whichever key they are for."""
    ids, numbers = itertools.count(1), itertools.count(1)

    def mint(key_id: str | None) -> tuple[str, str, bytes]:
        number = next(numbers)
        key_id = key_id or f"k{next(ids)}"
        return key_id, f"sk-lg_{key_id}_SECRET{number}_crc", number.to_bytes(32, "big")

    return mint


def read_identity(line: str) -> tuple[str, bytes]:
    """Stands for the reading of a public key: ``ssh-ed25519 NAME`` is the identity i-NAME."""
    kind, _, name = line.strip().partition(" ")
    if kind != "ssh-ed25519" or not name:
        raise ValueError("This is no ssh-ed25519 key.")
    return f"i-{name}", name.encode().ljust(32, b".")


def no_shouting(pattern: str) -> str:
    """Stands for the check of a model pattern."""
    if "!" in pattern:
        raise ValueError("it shouts")
    return pattern.lower()


ENTRY = Entry(
    id="e1",
    at=NOON,
    endpoint="POST /v1/chat/completions",
    outcome=Outcome.SERVED,
    status=200,
    user="alice",
    key_id="k1",
    plan="default",
    model="gemma3",
    usage=Usage(7, 3),
    total_seconds=1.5,
)

STANDING = Standing(
    address="http://127.0.0.1:11435",
    upstream="http://127.0.0.1:11434",
    upstream_answers=True,
    upstream_version="0.12.3",
    keys=2,
    readable=False,
    state_dir=Path("/var/lib/llamagate"),
)

COPIED = Copied("0005", {"keys": 2, "calls": 1, "acts": 5}, "backup")


def office(store: MemoryStore) -> StoreOffice:
    """An office over this store, in process."""

    async def told() -> Status:
        return Status("in process", store.under_way, {"refused": 2})

    return StoreOffice(store, told)


def a_desk(
    registry: Registry | None = None,
    book: Book | None = None,
    plans: Mapping[str, Plan] | None = None,
    counting: LimitsOffice | None = None,
    mint: Mint | None = None,
    now: Now = lambda: NOON,
    *,
    issuers: Collection[str] = (),
) -> Desk:
    """A desk at noon, where Olga asks."""
    return Desk(
        FakeRegistry() if registry is None else registry,
        FakeBook() if book is None else book,
        {"default": Plan("default")} if plans is None else plans,
        minter() if mint is None else mint,
        now,
        no_shouting,
        office(MemoryStore(lambda: MOMENT)) if counting is None else counting,
        actor=ACTOR,
        read_identity=read_identity,
        issuers=issuers,
    )


@dataclass
class FakeTools:
    environment: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    keys: Registry = field(default_factory=FakeRegistry)
    book: Book = field(default_factory=FakeBook)
    stands: Standing = STANDING
    fails: GateError | None = None
    served: list[Settings] = field(default_factory=list)
    configs: list[Path | None] = field(default_factory=list)
    demos: list[tuple[bool, bool]] = field(default_factory=list)
    mint: Mint = field(default_factory=minter)
    store: MemoryStore = field(default_factory=lambda: MemoryStore(lambda: MOMENT))
    office: LimitsOffice | None = None
    """In place of the one over the store."""
    reloaded: Reloaded = field(default_factory=Reloaded)
    reloads: list[Settings] = field(default_factory=list)
    seen: tuple[Look, ...] = (Look(0.0), Look(1.0))
    """What goes on, look by look."""
    copied: Copied = COPIED
    copies: list[tuple[Path, bool | None]] = field(default_factory=list)
    """Backups, and whether one there was to be replaced; None for what was restored."""
    issuers: tuple[str, ...] = ("keycloak",)
    proofs: AuthStatus = field(default_factory=AuthStatus)
    explained: Mapping[str, Any] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    """What was to be explained."""
    desk_fails: GateError | None = None

    def load(self, config: Path | None, flags: Mapping[str, str]) -> Loaded:
        self.configs.append(config)
        return load(
            text=self.text,
            file=str(config or "llamagate.toml"),
            environment=self.environment,
            flags=flags,
            read_secret=lambda path: Path(path).read_text(),
        )

    @asynccontextmanager
    async def desk(self, settings: Settings) -> AsyncIterator[Desk]:
        counting = self.office or office(self.store)
        if self.desk_fails is not None:
            raise self.desk_fails
        yield a_desk(self.keys, self.book, settings.plan_table(), counting, self.mint, self.now, issuers=self.issuers)

    def serve(self, settings: Settings, started: Callable[[Standing], None], again: Callable[[], Loaded]) -> None:
        if self.fails is not None:
            raise self.fails
        self.served.append(settings)
        started(self.stands)

    async def reload(self, settings: Settings) -> Reloaded:
        if self.fails is not None:
            raise self.fails
        self.reloads.append(settings)
        return self.reloaded

    async def backup(self, settings: Settings, file: Path, *, force: bool) -> Copied:
        if self.fails is not None:
            raise self.fails
        self.copies.append((file, force))
        return self.copied

    async def restore(self, settings: Settings, file: Path) -> Copied:
        if self.fails is not None:
            raise self.fails
        self.copies.append((file, None))
        return self.copied

    async def looks(self, settings: Settings) -> AsyncGenerator[Look, None]:
        if self.fails is not None:
            raise self.fails
        for look in self.seen:
            yield look
        raise KeyboardInterrupt  # By then whoever watches has had enough.

    async def ledger_status(self, settings: Settings) -> LedgerStatus:
        if self.fails is not None:
            raise self.fails
        return self.seen[-1].ledger

    async def auth_status(self, settings: Settings) -> AuthStatus:
        if self.fails is not None:
            raise self.fails
        return self.proofs

    async def explain(self, settings: Settings, token: str) -> Mapping[str, Any]:
        if self.fails is not None:
            raise self.fails
        self.tokens.append(token)
        return self.explained

    def openapi(self) -> Mapping[str, Any]:
        return {"openapi": "3.1.0", "info": {"title": "L\u00fcge"}}

    async def demo(self, real: bool, told: DemoTeller, stay: bool) -> None:
        self.demos.append((real, stay))
        told.standing(self.stands)
        told.asked("curl http://127.0.0.1:11435/v1/models")
        told.streamed("Hel")
        told.streamed("lo [bold]\x1b[2J")
        told.refused(401, '{"error": "no"}\n')
        told.entry(ENTRY)
        told.paste(["export OPENAI_API_KEY=sk-lg_k1_SECRET1_crc"])

    def now(self) -> datetime:
        return NOON
