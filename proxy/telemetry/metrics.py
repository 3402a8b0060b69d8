"""Figures for Prometheus: what every call came to, as a listener of entries, and what others count by themselves.

Where several processes are one gate, each has figures of its own, and ``together`` makes one set of them.

No label ever holds what a caller sent or who they are: an endpoint is a row of the table, an outcome and a reason are
words of ours, an issuer is a name of the owner's.
"""

import asyncio
import sys
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString as written_float

from proxy.errors import GateError
from proxy.vocabulary import Clock, Entry, Outcome

WAITS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds: from an answer that costs nothing to the cold start of a large model."""
SPEEDS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0)
"""Tokens in a second: from a large model on a processor to a small one on a large GPU."""
LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LOOK_SECONDS = 0.25
"""Between two looks at how late the loop is."""
FEWEST_TOKENS = 2
"""Of an answer whose speed is told: of a single one it is mostly that of what stands around it."""

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
    adds_up: bool = False
    """Whether several processes have its sum, where it does not only grow; else the highest of theirs is told."""


FIGURES = (
    Figure("llamagate_info", "Always 1; its label is the version of the gate.", "version"),
    Figure("llamagate_workers", "Processes that answer calls.", adds_up=True),
    Figure(
        "llamagate_workers_replaced_total", "Processes that ended or hung, and had another in their place.", "", True
    ),
    Figure("llamagate_calls_under_way", "Calls that go on.", adds_up=True),
    Figure("llamagate_calls_by_stage", "Calls that go on, by how far they are.", "stage", adds_up=True),
    Figure("llamagate_draining", "1 while the gate is being stopped."),
    Figure("llamagate_upstream_down", "1 while Ollama did not answer when it was asked last."),
    Figure("llamagate_limits_total", "What was counted about limits.", "event", only_grows=True),
    Figure("llamagate_limits_degraded_seconds", "For how long the Redis has not been asked; 0 while it is."),
    Figure("llamagate_proofs_total", "Who was let in, by the kind of proof, and who not, by why.", "result", True),
    Figure("llamagate_records_away_seconds", "For how long nothing was heard of the keys on record, else 0."),
    Figure("llamagate_issuer_keys", "Keys of an issuer that are believed.", "issuer"),
    Figure("llamagate_issuer_fetches_total", "How often an issuer's keys were fetched.", "issuer", True),
    Figure("llamagate_issuer_failures_total", "How many of these fetches failed.", "issuer", True),
    Figure("llamagate_connections_refused_total", "What came to no request or was cut, by why.", "reason", True),
    Figure("llamagate_connections", "Connections that are open at the public listener.", adds_up=True),
    Figure(
        "llamagate_certificate_end_timestamp_seconds",
        "When the gate's own certificate ends, in seconds since 1970; absent where the gate speaks no TLS.",
    ),
    Figure("llamagate_journal_bytes", "What waits on disk for the database.", adds_up=True),
    Figure("llamagate_book_behind_seconds", "For how long the database has taken no line; 0 while it does."),
    Figure("llamagate_ledger_full", "1 while there is no room for another call's line."),
    Figure("llamagate_journal_failing", "1 while the disk takes nothing."),
    Figure("llamagate_ledger_lines_lost_total", "Steps of calls that no disk ever took.", only_grows=True),
    Figure("llamagate_ledger_lines_torn_total", "Lines of the journal that told nothing when read again.", "", True),
    Figure("llamagate_ledger_calls_refused_total", "Calls refused for want of room; they have no line.", "", True),
    Figure("llamagate_ledger_calls_unsure_total", "Calls let in though there was no room.", only_grows=True),
    Figure("llamagate_log_lines_lost_total", "Log lines that could not be written in time.", only_grows=True),
    Figure("llamagate_usage_log_lost_total", "Entries that the usage log does not have.", only_grows=True),
    Figure("llamagate_traces_lost_total", "Calls of which no collector was told.", only_grows=True),
)

ADDS_UP = {figure.name for figure in FIGURES if figure.adds_up} | {
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
}
"""Gauges of which several processes have the sum."""
EARLIEST = {"process_start_time_seconds", "llamagate_certificate_end_timestamp_seconds"}
"""Gauges of which several processes have the lowest."""

Values = Mapping[str, Mapping[str, float] | float]
"""By the name of a figure: its value, or its values by what stands in its label. What is not here is not told."""


Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric, with all that is known of it at one moment."""

    name: str
    means: str
    kind: str
    """``counter``, ``gauge`` or ``histogram``, as Prometheus has them."""
    values: Mapping[tuple[str, Labels], float]
    """By the name of the sample and its labels."""


class _Spread:
    """How many of what was measured lie below each bound, and the sum of all."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...], counts: Iterable[int] = (), total: float = 0.0) -> None:
        self.bounds = bounds
        self.counts = list(counts) or [0] * (len(bounds) + 1)
        self.sum = total

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def copy(self) -> "_Spread":
        return _Spread(self.bounds, self.counts, self.sum)


class _Route:
    """What the calls of one endpoint came to."""

    __slots__ = ("first_byte", "outcomes", "whole")

    def __init__(self) -> None:
        self.outcomes: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        self.first_byte = _Spread(WAITS)
        self.whole = _Spread(WAITS)

    def copy(self) -> "_Route":
        copied = _Route()
        copied.outcomes = dict(self.outcomes)
        copied.first_byte, copied.whole = self.first_byte.copy(), self.whole.copy()
        return copied


class _Sums:
    """What all calls came to. Plain numbers: a library's counter takes a lock each time, and every call has ten."""

    __slots__ = ("bytes_in", "bytes_out", "estimated", "gpu", "lag", "phases", "reasons", "routes", "speed", "tokens")

    def __init__(self) -> None:
        self.routes: dict[str, _Route] = {}
        # From the beginning: of a counter that appears with its first mistake Prometheus sees no increase.
        self.reasons: dict[str, int] = {GateError.code: 0}
        self.tokens = [0, 0]
        """Of prompts, and of answers."""
        self.estimated = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.gpu = 0.0
        self.phases = [0.0, 0.0, 0.0]
        """To load models, to read prompts, to write answers."""
        self.speed = _Spread(SPEEDS)
        self.lag = _Spread(LAGS)

    def copy(self) -> "_Sums":
        copied = _Sums()
        copied.routes = {endpoint: route.copy() for endpoint, route in self.routes.items()}
        copied.reasons = dict(self.reasons)
        copied.tokens, copied.phases = list(self.tokens), list(self.phases)
        copied.estimated, copied.gpu = self.estimated, self.gpu
        copied.bytes_in, copied.bytes_out = self.bytes_in, self.bytes_out
        copied.speed, copied.lag = self.speed.copy(), self.lag.copy()
        return copied


class Metrics:
    """A ``Listener`` of entries, and the text that Prometheus reads."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._sums = _Sums()
        self._counted = _Counted()
        registry.register(self._counted)
        OfProcess(registry=registry)
        self._look: Callable[[], Values] = dict
        self._figures = _Figures()
        registry.register(self._figures)

    def asks(self, look: Callable[[], Values]) -> None:
        """What else is told from now on. ``look`` is called whenever it is wanted, and waits for nothing."""
        self._look = look

    def recorded(self, entry: Entry) -> None:
        sums, usage = self._sums, entry.usage
        route = sums.routes.get(entry.endpoint)
        if route is None:
            route = sums.routes[entry.endpoint] = _Route()
        route.outcomes[entry.outcome] += 1
        if entry.reason is not None:
            sums.reasons[entry.reason] = sums.reasons.get(entry.reason, 0) + 1
        sums.tokens[0] += usage.prompt_tokens
        sums.tokens[1] += usage.completion_tokens
        if not usage.exact:
            sums.estimated += 1
        sums.bytes_in += entry.bytes_in
        sums.bytes_out += entry.bytes_out
        sums.gpu += max(0.0, entry.gpu_seconds)
        if entry.first_byte_seconds is not None:
            route.first_byte.observe(entry.first_byte_seconds)
        route.whole.observe(entry.total_seconds)
        if usage.load_seconds is not None:
            sums.phases[0] += max(0.0, usage.load_seconds)
        if usage.prompt_seconds is not None:
            sums.phases[1] += max(0.0, usage.prompt_seconds)
        if usage.completion_seconds is not None:
            sums.phases[2] += max(0.0, usage.completion_seconds)
        if usage.completion_tokens >= FEWEST_TOKENS and (seconds := writing_seconds(entry)) > 0:
            sums.speed.observe(usage.completion_tokens / seconds)

    async def watch(self, pause: Pause, clock: Clock) -> None:
        """Measure how late the loop is, for ever."""
        while True:
            due = clock() + LOOK_SECONDS
            await pause(LOOK_SECONDS)
            self._sums.lag.observe(max(0.0, clock() - due))

    def _looks(self) -> None:
        """Take down what there is to tell: here, for nobody counts meanwhile."""
        self._figures.told = self._look()
        self._counted.told = self._sums.copy()

    async def families(self) -> list[Family]:
        """All that is told, in order. It takes milliseconds, in a thread, so that no call waits for it."""
        self._looks()
        return await asyncio.to_thread(lambda: list(map(_as_family, self._registry.collect())))

    async def text(self) -> tuple[str, bytes]:
        """The type of it, and all that is told, in Prometheus' own format.

        It takes tens of milliseconds to write where every route has been called, so that no call waits for it.
        """
        self._looks()
        return CONTENT_TYPE_PLAIN_0_0_4, await asyncio.to_thread(generate_latest, self._registry)


def writing_seconds(entry: Entry) -> float:
    """For how long the answer was written, where its tokens were counted; else 0.

    As the backend says, or where it does not and the answer came as it was written, from its first byte to its end.
    """
    usage = entry.usage
    if not usage.exact:
        return 0.0
    if usage.completion_seconds is not None:
        return usage.completion_seconds
    if not entry.stream or entry.first_byte_seconds is None:
        return 0.0
    return entry.total_seconds - entry.first_byte_seconds


def together(told: Iterable[Sequence[Family]]) -> list[Family]:
    """One set of several processes' figures: what only grows is added up, and of the rest what ``ADDS_UP`` names."""
    known: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, Labels], float]] = {}
    for families in told:
        for family in families:
            first = known.setdefault(family.name, family)
            mine = values.setdefault(family.name, {})
            put = _how(first)
            for place, value in family.values.items():
                mine[place] = put(mine[place], value) if place in mine else value
    return [Family(one.name, one.means, one.kind, values[name]) for name, one in known.items()]


def growing(families: Iterable[Family]) -> list[Family]:
    """Those that only grow: they are as true when their process has gone."""
    return [family for family in families if family.kind != "gauge"]


def written(families: Sequence[Family]) -> tuple[str, bytes]:
    """As ``Metrics.text`` has it. It takes as long."""
    registry = CollectorRegistry()
    registry.register(_Told(families))
    return CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry)


def as_told(families: Iterable[Family]) -> list[Any]:
    """As one process tells another, in JSON."""
    return [
        [one.name, one.means, one.kind, [[name, labels, value] for (name, labels), value in one.values.items()]]
        for one in families
    ]


def heard(told: Any) -> list[Family]:
    """What ``as_told`` said. Raises ValueError."""
    try:
        return [
            Family(
                str(name),
                str(means),
                str(kind),
                {
                    (str(sample), tuple((str(label), str(one)) for label, one in labels)): float(value)
                    for sample, labels, value in values
                },
            )
            for name, means, kind, values in told
        ]
    except TypeError as error:
        raise ValueError("These are no figures.") from error


def _how(family: Family) -> Callable[[float, float], float]:
    if family.kind != "gauge" or family.name in ADDS_UP:
        return float.__add__
    return min if family.name in EARLIEST else max


def _as_family(metric: Metric) -> Family:
    values = {(one.name, tuple(one.labels.items())): float(one.value) for one in metric.samples}
    return Family(metric.name, metric.documentation, metric.type, values)


class _Told(Collector):
    """Figures that are known already."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        for family in self._families:
            metric = Metric(family.name, family.means, family.kind)
            for (name, labels), value in family.values.items():
                metric.add_sample(name, dict(labels), value)
            yield metric


class OfProcess(ProcessCollector):
    """What the process is, also where ``/proc`` shows nothing but processes, as by the unit's ``ProcSubset=pid``."""

    def _boot_time(self) -> float | None:
        try:
            told: float | None = super()._boot_time()  # type: ignore[no-untyped-call]
        except OSError:
            # Without it the library tells nothing at all, not even the open files that an alert looks at.
            if sys.platform != "linux":
                raise
            return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return told


class _Counted(Collector):
    """What calls came to."""

    def __init__(self) -> None:
        self.told = _Sums()
        """As it was taken down last."""

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        told = self.told
        routes = told.routes.items()
        calls = [
            ((endpoint, outcome.value), count)
            for endpoint, route in routes
            for outcome, count in route.outcomes.items()
        ]
        first_bytes = [((endpoint,), route.first_byte) for endpoint, route in routes]
        wholes = [((endpoint,), route.whole) for endpoint, route in routes]
        reasons = [((reason,), count) for reason, count in told.reasons.items()]
        tokens = zip((("prompt",), ("completion",)), told.tokens, strict=True)
        moved = [(("in",), told.bytes_in), (("out",), told.bytes_out)]
        phases = zip((("load",), ("prompt",), ("completion",)), told.phases, strict=True)
        yield _counter("llamagate_calls", "Calls, by how they ended.", ("endpoint", "outcome"), calls)
        yield _counter("llamagate_not_served", "Calls that were refused or failed, by why.", ("reason",), reasons)
        yield _counter("llamagate_tokens", "Tokens of prompts and of answers.", ("kind",), tokens)
        yield _counter("llamagate_estimated_calls", "Calls whose tokens are an estimate.", (), [((), told.estimated)])
        yield _counter("llamagate_bytes", "Bytes of bodies, in and out.", ("direction",), moved)
        yield _counter("llamagate_gpu_seconds", "What the model server was at work for.", (), [((), told.gpu)])
        yield _counter("llamagate_phase_seconds", "What it said to have been at work for.", ("phase",), phases)
        yield _histogram(
            "llamagate_first_byte_seconds", "From the call to the first byte of its answer.", ("endpoint",), first_bytes
        )
        yield _histogram("llamagate_call_seconds", "From the call to its end.", ("endpoint",), wholes)
        yield _histogram(
            "llamagate_tokens_per_second", "How fast an answer of counted tokens was written.", (), [((), told.speed)]
        )
        yield _histogram("llamagate_loop_lag_seconds", "How late the loop came to what was due.", (), [((), told.lag)])


Place = tuple[str, ...]
"""What stands in the labels."""


def _counter(name: str, means: str, labels: Place, values: Iterable[tuple[Place, float]]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, means, labels=labels)
    for place, value in values:
        family.add_metric(place, value)
    return family


def _histogram(name: str, means: str, labels: Place, values: Iterable[tuple[Place, _Spread]]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, means, labels=labels)
    for place, spread in values:
        bounds = map(written_float, (*spread.bounds, float("inf")))
        family.add_metric(place, list(zip(bounds, accumulate(spread.counts), strict=True)), spread.sum)
    return family


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
