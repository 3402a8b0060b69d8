"""Make what counts: in this process, or in Redis with this process behind it."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from proxy.admin import control
from proxy.admin.office import LimitsOffice, Status, StoreOffice
from proxy.admin.remote import ControlOffice
from proxy.bootstrap import clocks
from proxy.config.settings import Settings
from proxy.late import late
from proxy.ledger import Book
from proxy.limits import Account, Cost, Store
from proxy.limits.guard import Guard, OnFailure
from proxy.limits.limiter import Limiter
from proxy.limits.memory import MemoryStore, Spent
from proxy.limits.strangers import Strangers
from proxy.limits.windows import EPOCH, Window
from proxy.policy import models
from proxy.policy.models import BadName
from proxy.vocabulary import RedisAddress

if TYPE_CHECKING:
    from proxy.limits.redis import link
    from proxy.limits.redis import store as in_redis
else:
    link = late("proxy.limits.redis.link")
    in_redis = late("proxy.limits.redis.store")


@dataclass(frozen=True, slots=True)
class Counting:
    """What counts in one gate."""

    store: Store
    limiter: Limiter
    strangers: Strangers
    local: MemoryStore
    shared: "in_redis.RedisStore | None" = None
    guard: Guard | None = None

    @property
    def office(self) -> LimitsOffice:
        """Where the owner asks."""
        return StoreOffice(self.store, self._status)

    async def _status(self) -> Status:
        if self.shared is None or self.guard is None:
            return Status("in process", self.local.under_way, self.counts)
        seconds = self.guard.degraded_seconds
        return Status(
            "Redis",
            self.shared.under_way + self.local.under_way,
            self.counts,
            self.guard.on_failure.value,
            None if seconds is None else clocks.now() - timedelta(seconds=seconds),
        )

    @property
    def counts(self) -> Counter[str]:
        """Everything that is counted about counting, by name."""
        told = Counter(self.limiter.counts)
        told["strangers_refused"] = self.strangers.refused
        if self.shared is not None and self.guard is not None:
            told.update(self.guard.counts)
            told.update(self.shared.counts)
        return told


def covers(pattern: str, model: str) -> bool:
    """Whether a canonical pattern covers a model. What is no name is covered by none: not every route checks it."""
    try:
        return models.covered(models.canonical(model), (pattern,))
    except BadName:
        return False


def spent_by(book: Book, gates: Callable[[], int] = lambda: 1) -> Spent:
    """What the ledger has of an account since the beginning of a window; of it, the part of one gate among so many."""

    async def spent(account: Account, window: Window) -> Cost:
        since = EPOCH + timedelta(microseconds=window.start)
        rows = await book.spent(account.level, account.subject, since, team=account.team)
        counted = [
            row for model, row in rows.items() if not account.models or (model and covers(account.models, model))
        ]
        tokens, seconds = sum(row.tokens for row in counted), sum(row.gpu_seconds for row in counted)
        return Cost(tokens // gates(), round(1000 * seconds / gates()))

    return spent


@asynccontextmanager
async def counting(settings: Settings, book: Book) -> AsyncIterator[Counting]:
    """What counts, as the settings want it. Leaving it brings to Redis what still has to be settled."""
    strangers = Strangers(settings.failed_attempts_per_minute, clocks.steady_micros)
    gate = secrets.token_hex(6)
    numbers = iter(range(2**63))

    def new_id() -> str:
        return f"{gate}-{next(numbers)}"

    if settings.redis is None:
        local = MemoryStore(clocks.moment, spent_by(book))
        yield Counting(local, Limiter(local, covers, new_id), strangers, local)
        return
    shared = redis_store(settings.redis, gate)
    share = MemoryStore(clocks.moment, spent_by(book, lambda: guard.gates))
    counters = settings.replicas * settings.workers  # Each of our processes counts by itself while Redis is away.
    guard = Guard(shared, share, OnFailure(settings.on_redis_failure), replicas=counters, clock=time.monotonic)
    await guard.begin()
    keeping = asyncio.create_task(guard.keep())
    try:
        yield Counting(guard, Limiter(guard, covers, new_id), strangers, share, shared, guard)
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        await shared.close()


@asynccontextmanager
async def office_elsewhere(settings: Settings, book: Book) -> AsyncIterator[LimitsOffice]:
    """Where a command asks, which is another process than the gate: in Redis, or by the gate's control socket."""
    path = control.path_in(settings.state_dir)
    by_socket = ControlOffice(path, MemoryStore(clocks.moment, spent_by(book)))
    if settings.redis is None:
        yield by_socket
        return
    shared = redis_store(settings.redis, "a command")
    try:
        yield StoreOffice(shared, by_socket.status)
    finally:
        await shared.close()


def redis_store(address: RedisAddress, gate: str) -> "in_redis.RedisStore":
    """Raises Misconfigured."""
    return in_redis.RedisStore(link.Link.to(address), clocks.steady_micros, gate=gate, cluster=address.cluster)
