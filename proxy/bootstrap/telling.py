"""Put the admin listener together: who is asked for what it tells."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from proxy import __version__
from proxy.admin.watching import LedgerStatus
from proxy.bootstrap.authenticating import Doorkeepers
from proxy.bootstrap.bookkeeping import Books
from proxy.bootstrap.draining import Draining
from proxy.bootstrap.limiting import Counting
from proxy.bootstrap.listening import address_of, listen
from proxy.config.settings import Settings
from proxy.telemetry.logs import lost_lines
from proxy.telemetry.metrics import Metrics, Values
from proxy.web.app import Server
from proxy.web.back_door import BackDoor
from proxy.web.health import Check, Readiness
from proxy.web.manners import Manners


class Upstream(Protocol):
    """What is known of the backend."""

    @property
    def answers(self) -> bool | None:
        """Whether it did when it was asked last; None where it never was."""


@dataclass(frozen=True, slots=True)
class Known:
    """Who knows what the admin listener tells."""

    settings: Settings
    counting: Counting
    books: Books
    who: Doorkeepers
    draining: Draining
    upstream: Upstream
    server: Server
    """The public one."""

    def readiness(self) -> Readiness:
        """Whether this gate should be sent calls, by what is known now."""
        return readiness(
            self.who.remembered.away_seconds,
            self.books.status(),
            outage=self.settings.auth.outage,
            required=self.settings.ledger.required,
            is_draining=self.draining.has_begun,
            answers=self.upstream.answers,
        )

    def values(self) -> Values:
        """What others count and measure."""
        ledger, who = self.books.status(), self.who.status()
        return {
            "llamagate_info": {__version__: 1},
            "llamagate_calls_under_way": len(self.books.ledger.open),
            "llamagate_draining": self.draining.has_begun,
            "llamagate_limits_total": self.counting.counts,
            "llamagate_proofs_total": {str(one): count for one, count in who.counts.items()},
            "llamagate_records_away_seconds": who.away_seconds or 0.0,
            "llamagate_issuer_keys": {issuer.name: issuer.keys for issuer in who.issuers},
            "llamagate_issuer_fetches_total": {issuer.name: issuer.fetches for issuer in who.issuers},
            "llamagate_issuer_failures_total": {issuer.name: issuer.failures for issuer in who.issuers},
            "llamagate_connections_refused_total": {str(one): count for one, count in self.server.tally.counts.items()},
            "llamagate_connections": self.server.open,
            "llamagate_journal_bytes": ledger.waiting_bytes,
            "llamagate_book_behind_seconds": ledger.behind_seconds,
            "llamagate_ledger_full": ledger.is_full,
            "llamagate_journal_failing": ledger.is_failing,
            "llamagate_ledger_lines_lost_total": ledger.lost_lines,
            "llamagate_ledger_lines_torn_total": ledger.torn_lines,
            "llamagate_ledger_calls_refused_total": ledger.refused_calls,
            "llamagate_ledger_calls_unsure_total": ledger.unsure_calls,
            "llamagate_log_lines_lost_total": lost_lines(),
            "llamagate_usage_log_lost_total": ledger.usage_log_lost,
        }


def readiness(
    away_seconds: float | None,
    ledger: LedgerStatus,
    *,
    outage: float,
    required: bool,
    is_draining: bool,
    answers: bool | None,
) -> Readiness:
    """Whether a gate should be sent calls.

    While the database is away, calls of known callers go on for as long as the owner allows, so the gate stays ready
    for so long: were it not, all gates on that database would refuse everybody at once.
    """
    trouble = "full" if ledger.is_full else "failing" if ledger.is_failing else None
    return Readiness(
        {
            "database": Check(
                away_seconds is None or away_seconds <= outage,
                "ok" if away_seconds is None else f"away for {away_seconds:.0f} s",
            ),
            "journal": Check(trouble is None or not required, trouble or "ok"),
            "draining": Check(not is_draining, "yes" if is_draining else "no"),
        },
        {"upstream": {None: "not asked yet", True: "answers", False: "does not answer"}[answers]},
    )


@asynccontextmanager
async def telling(known: Known, metrics: Metrics | None, manners: Manners) -> AsyncIterator[str | None]:
    """The admin listener, at this address; where there are no metrics, there is none.

    Raises Misconfigured where it cannot listen.
    """
    address = known.settings.admin_listen
    if metrics is None or address is None:
        yield None
        return
    metrics.asks(known.values)
    is_public = known.settings.admin_public
    server = Server(BackDoor(known.readiness, metrics.text, only_here=not is_public), manners)
    listening = await listen(server, address)
    if is_public:
        logging.getLogger("proxy.web").warning("admin_listener_is_public", extra={"address": address})
    watching = asyncio.create_task(metrics.watch(asyncio.sleep, time.monotonic))
    try:
        yield address_of(address, listening)
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        listening.close()
        await server.shutdown(0)
