"""Put the admin listener together: who is asked for what it tells."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from proxy import __version__
from proxy.admin.watching import LedgerStatus
from proxy.bootstrap.authenticating import Doorkeepers
from proxy.bootstrap.bookkeeping import Books
from proxy.bootstrap.draining import Draining
from proxy.bootstrap.gathering import Gathering
from proxy.bootstrap.limiting import Counting
from proxy.bootstrap.listening import Sockets, address_of, listen
from proxy.config.settings import Settings
from proxy.ledger.under_way import Stage
from proxy.telemetry.logs import lost_lines
from proxy.telemetry.traces import Traces
from proxy.web.app import Server
from proxy.web.back_door import BackDoor
from proxy.web.health import Check, Readiness
from proxy.web.manners import Manners
from proxy.web.tls import Tls

if TYPE_CHECKING:
    from proxy.telemetry.metrics import Metrics, Values


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
    is_replacement: bool = False
    """Whether this process took the place of one that had died."""
    tls: Tls | None = None
    traces: Traces | None = None

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

    def values(self) -> "Values":
        """What others count and measure."""
        ledger, who, guard = self.books.status(), self.who.status(), self.counting.guard
        values: dict[str, Mapping[str, float] | float] = {
            "llamagate_info": {__version__: 1},
            "llamagate_workers": 1,
            "llamagate_workers_replaced_total": self.is_replacement,
            "llamagate_calls_under_way": len(self.books.ledger.open),
            "llamagate_calls_by_stage": self.stages(),
            "llamagate_draining": self.draining.has_begun,
            "llamagate_upstream_down": self.upstream.answers is False,
            "llamagate_limits_total": self.counting.counts,
            "llamagate_limits_degraded_seconds": (guard and guard.degraded_seconds) or 0.0,
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
            "llamagate_traces_lost_total": self.traces.lost if self.traces else 0,
        }
        if self.tls is not None:
            values["llamagate_certificate_end_timestamp_seconds"] = self.tls.certificate.until.timestamp()
        return values

    def stages(self) -> Mapping[str, int]:
        """How many calls are how far."""
        counts = Counter(line.stage for line in self.books.ledger.open)
        return {stage.value: counts[stage] for stage in Stage}


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
async def telling(
    known: Known, metrics: "Metrics | None", manners: Manners, gathering: Gathering | None = None, at: Sockets = ()
) -> AsyncIterator[str | None]:
    """The admin listener, at this address; where there are no metrics, there is none.

    One of several workers tells what they are ``gathering``, at these sockets. Raises Misconfigured where it cannot
    listen.
    """
    address = known.settings.admin_listen
    if metrics is None or address is None:
        yield None
        return
    metrics.asks(known.values)
    is_public = known.settings.admin_public
    if gathering is None:
        door = BackDoor(known.readiness, metrics.text, only_here=not is_public)
    else:
        await gathering.keep()
        door = BackDoor(gathering.readiness, gathering.text, only_here=not is_public)
    tasks = [asyncio.create_task(metrics.watch(asyncio.sleep, time.monotonic))]
    if gathering is not None:
        tasks.append(asyncio.create_task(gathering.showing()))
    server = Server(door, manners)
    try:
        listening = await listen(server, address, at=at)
        if is_public:
            logging.getLogger("proxy.web").warning("admin_listener_is_public", extra={"address": address})
        try:
            yield address_of(address, listening)
        finally:
            listening.close()
            await server.shutdown(0)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
