"""Figures for Prometheus: what every call came to, as a listener of entries, and what others count by themselves.

No label ever holds what a caller sent or who they are: an endpoint is a row of the table, an outcome and a reason are
words of ours, an issuer is a name of the owner's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from proxy.vocabulary import Clock, Entry, Outcome

WAITS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds: from an answer that costs nothing to the cold start of a large model."""
LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LOOK_SECONDS = 0.25
"""Between two looks at how late the loop is."""

Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Figure:
    """What somebody else counts or measures, and is asked for when it is wanted."""

    name: str
    means: str
    label: str = ""
    """What tells its values apart; empty where there is but one."""
    only_grows: bool = False
    """Whether it counts since the gate began; its name ends with ``_total`` then."""


FIGURES = (
    Figure("llamagate_info", "Always 1; its label is the version of the gate.", "version"),
    Figure("llamagate_calls_under_way", "Calls that go on."),
    Figure("llamagate_draining", "1 while the gate is being stopped."),
    Figure("llamagate_limits_total", "What was counted about limits.", "event", only_grows=True),
    Figure("llamagate_proofs_total", "Who was let in, by the kind of proof, and who not, by why.", "result", True),
    Figure("llamagate_records_away_seconds", "For how long nothing was heard of the keys on record, else 0."),
    Figure("llamagate_issuer_keys", "Keys of an issuer that are believed.", "issuer"),
    Figure("llamagate_issuer_fetches_total", "How often an issuer's keys were fetched.", "issuer", True),
    Figure("llamagate_issuer_failures_total", "How many of these fetches failed.", "issuer", True),
    Figure("llamagate_connections_refused_total", "What came to no request or was cut, by why.", "reason", True),
    Figure("llamagate_connections", "Connections that are open at the public listener."),
    Figure("llamagate_journal_bytes", "What waits on disk for the database."),
    Figure("llamagate_book_behind_seconds", "For how long the database has taken no line; 0 while it does."),
    Figure("llamagate_ledger_full", "1 while there is no room for another call's line."),
    Figure("llamagate_journal_failing", "1 while the disk takes nothing."),
    Figure("llamagate_ledger_lines_lost_total", "Steps of calls that no disk ever took.", only_grows=True),
    Figure("llamagate_ledger_lines_torn_total", "Lines of the journal that told nothing when read again.", "", True),
    Figure("llamagate_ledger_calls_refused_total", "Calls refused for want of room; they have no line.", "", True),
    Figure("llamagate_ledger_calls_unsure_total", "Calls let in though there was no room.", only_grows=True),
    Figure("llamagate_log_lines_lost_total", "Log lines that could not be written in time.", only_grows=True),
    Figure("llamagate_usage_log_lost_total", "Entries that the usage log does not have.", only_grows=True),
)

Values = Mapping[str, Mapping[str, float] | float]
"""By the name of a figure: its value, or its values by what stands in its label. What is not here is not told."""


class Metrics:
    """A ``Listener`` of entries, and the text that Prometheus reads."""

    def __init__(self) -> None:
        # Else there is one more series for each, which says when this process first saw it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self._calls = Counter(
            "llamagate_calls", "Calls, by how they ended.", ("endpoint", "outcome"), registry=registry
        )
        self._reasons = Counter(
            "llamagate_not_served", "Calls that were refused or failed, by why.", ("reason",), registry=registry
        )
        self._tokens = Counter("llamagate_tokens", "Tokens of prompts and of answers.", ("kind",), registry=registry)
        self._estimated = Counter("llamagate_estimated_calls", "Calls whose tokens are an estimate.", registry=registry)
        self._bytes = Counter("llamagate_bytes", "Bytes of bodies, in and out.", ("direction",), registry=registry)
        self._gpu = Counter("llamagate_gpu_seconds", "What the model server was at work for.", registry=registry)
        self._first_byte = Histogram(
            "llamagate_first_byte_seconds",
            "From the call to the first byte of its answer.",
            ("endpoint",),
            buckets=WAITS,
            registry=registry,
        )
        self._whole = Histogram(
            "llamagate_call_seconds", "From the call to its end.", ("endpoint",), buckets=WAITS, registry=registry
        )
        self._lag = Histogram(
            "llamagate_loop_lag_seconds", "How late the loop came to what was due.", buckets=LAGS, registry=registry
        )
        self._prompt, self._completion = self._tokens.labels("prompt"), self._tokens.labels("completion")
        self._in, self._out = self._bytes.labels("in"), self._bytes.labels("out")
        # To look for a child costs more than to count: every call would do so several times.
        self._ended: dict[tuple[str, Outcome], Counter] = {}
        self._waits: dict[str, tuple[Histogram, Histogram]] = {}
        ProcessCollector(registry=registry)
        self._look: Callable[[], Values] = dict
        self._figures = _Figures()
        registry.register(self._figures)

    def asks(self, look: Callable[[], Values]) -> None:
        """What else is told from now on. ``look`` is called whenever it is wanted, and waits for nothing."""
        self._look = look

    def recorded(self, entry: Entry) -> None:
        endpoint = entry.endpoint
        if (ended := self._ended.get((endpoint, entry.outcome))) is None:
            ended = self._ended[endpoint, entry.outcome] = self._calls.labels(endpoint, entry.outcome.value)
        if (waits := self._waits.get(endpoint)) is None:
            waits = self._waits[endpoint] = (self._first_byte.labels(endpoint), self._whole.labels(endpoint))
        first_byte, whole = waits
        ended.inc()
        if entry.reason is not None:
            self._reasons.labels(entry.reason).inc()
        usage = entry.usage
        self._prompt.inc(usage.prompt_tokens)
        self._completion.inc(usage.completion_tokens)
        if not usage.exact:
            self._estimated.inc()
        self._in.inc(entry.bytes_in)
        self._out.inc(entry.bytes_out)
        self._gpu.inc(max(0.0, entry.gpu_seconds))
        if entry.first_byte_seconds is not None:
            first_byte.observe(entry.first_byte_seconds)
        whole.observe(entry.total_seconds)

    async def watch(self, pause: Pause, clock: Clock) -> None:
        """Measure how late the loop is, for ever."""
        while True:
            due = clock() + LOOK_SECONDS
            await pause(LOOK_SECONDS)
            self._lag.observe(max(0.0, clock() - due))

    async def text(self) -> tuple[str, bytes]:
        """The type of it, and all that is told, in Prometheus' own format.

        It takes tens of milliseconds to write where every route has been called, so that no call waits for it.
        """
        self._figures.told = self._look()  # Here, for nobody counts while it looks.
        return CONTENT_TYPE_PLAIN_0_0_4, await asyncio.to_thread(generate_latest, self._registry)


class _Figures(Collector):
    """What others count."""

    def __init__(self) -> None:
        self.told: Values = {}
        """As it was looked up last."""

    def describe(self) -> Iterable[Metric]:
        return [_family(figure) for figure in FIGURES]

    def collect(self) -> Iterable[Metric]:
        told = self.told
        for figure in FIGURES:
            if figure.name in told:
                yield _family(figure, told[figure.name])


def _family(figure: Figure, told: Mapping[str, float] | float | None = None) -> Metric:
    labels = (figure.label,) if figure.label else ()
    kind = CounterMetricFamily if figure.only_grows else GaugeMetricFamily
    family = kind(figure.name, figure.means, labels=labels)
    if isinstance(told, Mapping):
        for one, value in told.items():
            family.add_metric((one,), value)
    elif told is not None:
        family.add_metric((), told)
    return family
