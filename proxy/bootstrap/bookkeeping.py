"""Put the ledger together: a journal of this process's own, and who brings it to the book."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from proxy.admin.watching import LedgerStatus
from proxy.bootstrap import clocks
from proxy.bootstrap.limiting import covers
from proxy.bootstrap.storage import Records, pepper_of
from proxy.config.settings import Settings
from proxy.errors import Misconfigured, StorageFailed
from proxy.ledger import Listener
from proxy.ledger.addresses import hashed
from proxy.ledger.bookkeeping import Bookkeeper, take_over
from proxy.ledger.journal import Journal, remove
from proxy.ledger.keeper import JournalKeeper
from proxy.ledger.line import Ledger
from proxy.ledger.prices import Prices
from proxy.ledger.prompts import PromptLog
from proxy.ledger.retention import forgetting
from proxy.ledger.under_way import UnderWay
from proxy.ledger.usage_log import UsageLog

SWEEP_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Books:
    """What keeps the lines of one gate."""

    ledger: Ledger
    journal: Journal
    keeper: Bookkeeper
    prompts: PromptLog
    usage_log: UsageLog | None = None

    def under_way(self) -> Iterator[UnderWay]:
        """The calls that go on and of which it is known whose they are."""
        return (view for line in self.ledger.open if (view := line.view()) is not None)

    def status(self) -> LedgerStatus:
        return LedgerStatus(
            waiting_bytes=self.journal.size,
            behind_seconds=self.keeper.behind_seconds,
            is_full=self.journal.full,
            is_failing=self.journal.failing,
            lost_lines=self.journal.lost,
            torn_lines=self.keeper.torn,
            refused_calls=self.ledger.refused,
            unsure_calls=self.ledger.unsure,
            usage_log_lost=0 if self.usage_log is None else self.usage_log.lost,
        )


@asynccontextmanager
async def books(settings: Settings, kept: Records, listeners: Sequence[Listener]) -> AsyncIterator[Books]:
    """The ledger, once what dead processes left behind is in the book. Leaving it brings the rest there.

    Raises Misconfigured.
    """
    above, usage_log = settings.state_dir / "journal", None
    if settings.ledger.usage_log:
        usage_log = UsageLog(settings.state_dir / "usage", settings.ledger.usage_log_keep, clocks.now)
    copies = [] if usage_log is None else [usage_log]
    journal = Journal(above / secrets.token_hex(8), most_bytes=settings.ledger.spool)
    try:
        await kept.book.days_of(settings.time_zone)
        await take_over(above, kept.book, copies)
        journal.begin()
    except OSError as error:
        raise Misconfigured(f"No journal can be kept in {above}: {error.strerror or error}.") from error
    except StorageFailed as error:
        raise Misconfigured(f"The ledger cannot be written: {error.why}") from error
    keeper = Bookkeeper(kept.book, journal, copies)
    prompts = PromptLog(settings.state_dir / "prompts", clocks.now)
    ledger = _ledger(settings, journal, listeners, prompts)
    keeping = asyncio.create_task(keeper.run())
    others = [asyncio.create_task(ledger.watch(asyncio.sleep)), asyncio.create_task(_sweeping(prompts, *copies))]
    if settings.ledger.keep is not None:
        others.append(asyncio.create_task(forgetting(kept.book, settings.ledger.keep, clocks.now, asyncio.sleep)))
    try:
        yield Books(ledger, journal, keeper, prompts, usage_log)
    finally:
        for other in others:
            other.cancel()
        keeper.close(await journal.end())
        await asyncio.wait([keeping, *others])
        await prompts.close()
        if keeper.done:
            remove(journal.folder)
        journal.close()


async def _sweeping(*logs: PromptLog | UsageLog) -> None:
    """Delete what has been kept for long enough, for ever."""
    while True:
        for log in logs:
            await log.sweep()
        await asyncio.sleep(SWEEP_SECONDS)


def _ledger(settings: Settings, journal: Journal, listeners: Sequence[Listener], prompts: PromptLog) -> Ledger:
    prices = Prices(covers, settings.price_table(), settings.reference_price, settings.watts)
    return Ledger(
        JournalKeeper(journal),
        listeners,
        time.monotonic,
        costs=prices.of,
        veil=partial(hashed, secret=pepper_of(settings)) if settings.ledger.hash_addresses else str,
        prompts=prompts,
        required=settings.ledger.required,
    )
