import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from proxy.telemetry.traces import Context, OtlpCollector, Parent, Traces, parent_of, pseudonyms
from proxy.vocabulary import Entry, Outcome, Usage
from tests.fakes.collector import FakeCollector, attributes, collecting

ENTRY = Entry(
    id="req_1",
    at=datetime(2026, 11, 1, 12, 0, 0, 250_000, tzinfo=UTC),
    endpoint="/api/chat",
    outcome=Outcome.SERVED,
    status=200,
    user="CANARY-user",
    team="CANARY-team",
    key_id="CANARY-key",
    plan="CANARY-plan",
    model="llama3.2:latest",
    stream=True,
    peer="CANARY-peer",
    changes=("CANARY-change",),
    usage=Usage(26, 3, load_seconds=0.5, prompt_seconds=0.25, completion_seconds=1.0),
    gpu_seconds=1.75,
    first_byte_seconds=0.875,
    total_seconds=2.0,
)
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
BEGAN = 1_793_534_400_250_000_000
SECOND = 1_000_000_000


def numbers() -> Callable[[int], int]:
    """What stands in for chance: 1, 2, 3, …"""
    drawn = count(1)
    return lambda bits: next(drawn)


class Kept:
    """Takes what it is told, or says why not."""

    def __init__(self) -> None:
        self.groups: list[list[tuple[Context, Entry]]] = []
        self.why: str | None = None
        self.tries = threading.Semaphore(0)
        self.is_closed = False

    @property
    def entries(self) -> list[Entry]:
        return [entry for group in self.groups for _, entry in group]

    def take(self, calls: Sequence[tuple[Context, Entry]]) -> str | None:
        why = self.why
        if why is None:
            self.groups.append(list(calls))
        self.tries.release()
        return why

    def close(self) -> None:
        self.is_closed = True


@contextmanager
def tracing(kept: Kept, **told: float) -> Iterator[Traces]:
    """Nothing is told before the end, unless something else is said."""
    traces = Traces(kept, numbers(), **{"gather_seconds": 1000.0, **told})  # type: ignore[arg-type]
    try:
        yield traces
    finally:
        traces.close()


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    with collecting() as collector:
        yield collector


def spans_of(
    collector: FakeCollector, entry: Entry, *, traceparent: str | None = None, callers: bool = False
) -> list[Span]:
    """What a collector hears of one call."""
    pseudonym = pseudonyms(b"pepper") if callers else None
    telling = OtlpCollector(collector.url, version="1.2.3", random_bits=numbers(), pseudonym=pseudonym)
    traces = Traces(telling, lambda bits: 2**bits - 1, gather_seconds=1000.0)
    traces.begins("POST", traceparent)
    traces.recorded(entry)
    traces.close()
    return collector.spans


def test_a_call_is_a_span_from_its_beginning_to_its_end(collector: FakeCollector) -> None:
    call, *_ = spans_of(collector, ENTRY)

    assert ("chat llama3.2:latest", Span.SPAN_KIND_SERVER) == (call.name, call.kind)
    assert (BEGAN, BEGAN + 2 * SECOND) == (call.start_time_unix_nano, call.end_time_unix_nano)
    assert ("ff" * 16, "ff" * 8, b"") == (call.trace_id.hex(), call.span_id.hex(), call.parent_span_id)
    assert Status.STATUS_CODE_UNSET == call.status.code
    assert {
        "http.request.method": "POST",
        "http.route": "/api/chat",
        "http.response.status_code": 200,
        "llamagate.call.id": "req_1",
        "llamagate.outcome": "served",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ollama",
        "gen_ai.request.model": "llama3.2:latest",
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": 0.875,
        "gen_ai.usage.input_tokens": 26,
        "gen_ai.usage.output_tokens": 3,
        "llamagate.usage.exact": True,
        "llamagate.gpu_seconds": 1.75,
    } == attributes(call)


def test_phases_that_the_backend_told_stand_one_after_the_other_before_the_end(collector: FakeCollector) -> None:
    call, *phases = spans_of(collector, ENTRY)
    quarter = SECOND // 4

    assert [
        ("load", BEGAN + quarter, BEGAN + 3 * quarter),
        ("prompt", BEGAN + 3 * quarter, BEGAN + SECOND),
        ("completion", BEGAN + SECOND, BEGAN + 2 * SECOND),
    ] == [(one.name, one.start_time_unix_nano, one.end_time_unix_nano) for one in phases]
    assert {call.span_id} == {one.parent_span_id for one in phases}
    assert {call.trace_id} == {one.trace_id for one in phases}
    assert 4 == len({one.span_id for one in (call, *phases)})


def test_phases_longer_than_the_call_begin_with_it(collector: FakeCollector) -> None:
    _, first, *_ = spans_of(collector, replace(ENTRY, total_seconds=1.5))

    assert BEGAN == first.start_time_unix_nano


def test_who_tells_is_said_once_for_all_spans(collector: FakeCollector) -> None:
    spans_of(collector, ENTRY)

    assert ("llamagate", "1.2.3") == tuple(collector.resource[f"service.{name}"] for name in ("name", "version"))
    assert "application/x-protobuf" == collector.headers[0]["content-type"]
    assert 1 == len(collector.requests)


def test_nobody_and_nothing_that_was_sent_is_in_it(collector: FakeCollector) -> None:
    spans_of(collector, ENTRY)
    refused = replace(ENTRY, outcome=Outcome.REFUSED, reason="model_not_found", model="CANARY-model", usage=Usage())
    down = replace(refused, outcome=Outcome.BACKEND_FAILED, reason="backend_down", gpu_seconds=0.0)
    left = replace(down, outcome=Outcome.CLIENT_LEFT, status=None)
    for one in (replace(refused, gpu_seconds=0.0), down, left):
        spans_of(collector, one, callers=True)

    assert not [body for body in collector.bodies if b"CANARY" in body]


def test_callers_are_told_apart_by_hashes_where_that_is_wanted(collector: FakeCollector) -> None:
    spans_of(collector, ENTRY, callers=True)
    spans_of(collector, replace(ENTRY, key_id="another"), callers=True)
    spans_of(collector, replace(ENTRY, user=None, key_id=None), callers=True)
    one, other, nobody = (attributes(span) for span in collector.spans if span.name.startswith("chat"))

    assert one["enduser.pseudo.id"] == other["enduser.pseudo.id"]
    assert 2 == len({one["llamagate.key.pseudo_id"], other["llamagate.key.pseudo_id"]})
    assert set() == {"enduser.pseudo.id", "llamagate.key.pseudo_id"} & nobody.keys()


def test_a_hash_needs_the_secret_and_tells_a_user_from_a_key_of_that_name() -> None:
    one, other = pseudonyms(b"pepper"), pseudonyms(b"another")

    assert one("user", "alice") == pseudonyms(b"pepper")("user", "alice")
    assert 3 == len({one("user", "alice"), one("key", "alice"), other("user", "alice")})
    assert 16 == len(one("user", "\udce9"))


@pytest.mark.parametrize(
    ("outcome", "status", "failed"),
    [
        (Outcome.REFUSED, 429, False),
        (Outcome.REFUSED, 503, True),
        (Outcome.CLIENT_LEFT, None, False),
        (Outcome.BACKEND_FAILED, 502, True),
        (Outcome.TRUNCATED, 200, True),
        (Outcome.GATE_FAILED, 500, True),
    ],
)
def test_only_what_is_no_callers_fault_is_an_error(
    collector: FakeCollector, outcome: Outcome, status: int | None, failed: bool
) -> None:
    call, *_ = spans_of(collector, replace(ENTRY, outcome=outcome, status=status, reason="why"))

    assert failed == (Status.STATUS_CODE_ERROR == call.status.code)
    assert ("why", status) == tuple(attributes(call).get(name) for name in ("error.type", "http.response.status_code"))


@pytest.mark.parametrize(
    ("endpoint", "model", "name"),
    [
        ("/v1/embeddings", "m:latest", "embeddings m:latest"),
        ("/v1/completions", None, "text_completion"),
        ("/api/tags", None, "POST /api/tags"),
        ("/v1/models/{segment}", "m:latest", "POST /v1/models/{segment}"),
        ("unknown", None, "POST"),
    ],
)
def test_a_span_is_named_by_what_was_done(
    collector: FakeCollector, endpoint: str, model: str | None, name: str
) -> None:
    call = spans_of(collector, replace(ENTRY, endpoint=endpoint, model=model))[0]

    assert name == call.name
    assert (endpoint != "unknown") == ("http.route" in attributes(call))


def test_a_call_becomes_a_part_of_the_trace_that_is_believed(collector: FakeCollector) -> None:
    call, *_ = spans_of(collector, ENTRY, traceparent=f"00-{TRACE}-{SPAN}-01")

    assert (TRACE, SPAN) == (call.trace_id.hex(), call.parent_span_id.hex())
    assert SPAN != call.span_id.hex()


@pytest.mark.parametrize(("flags", "is_told"), [("00", False), ("01", True), ("fe", False), ("ff", True)])
def test_whoever_is_believed_decides_whether_their_call_is_traced(flags: str, is_told: bool) -> None:
    kept = Kept()
    with tracing(kept, sample=1.0 - is_told) as traces:
        traces.begins("POST", f"00-{TRACE}-{SPAN}-{flags}")
        traces.recorded(ENTRY)
        passed_on = traces.passed_on()["traceparent"]

    assert is_told == bool(kept.entries)
    assert (TRACE, f"{is_told:02d}") == (passed_on.split("-")[1], passed_on.split("-")[3])


@pytest.mark.parametrize(
    "said",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01more",
        "00-" + "a" * 100_000,
    ],
)
def test_a_traceparent_that_is_not_as_it_should_be_says_nothing(said: str) -> None:
    assert parent_of(said) is None


def test_a_traceparent_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert Parent(int(TRACE, 16), int(SPAN, 16), True) == parent_of(f"cc-{TRACE}-{SPAN}-09-what-comes-then")
    assert Parent(int(TRACE, 16), int(SPAN, 16), False) == parent_of(f"00-{TRACE}-{SPAN}-00")


def test_what_is_passed_on_is_the_span_of_the_call_itself() -> None:
    with tracing(Kept()) as traces:
        assert {} == traces.passed_on()

        traces.begins("GET", None)

        assert {"traceparent": f"00-{2:032x}-{1:016x}-01"} == traces.passed_on()


@pytest.mark.parametrize(("sample", "told"), [(1.0, 4), (0.5, 2), (0.0, 0)])
def test_a_part_of_all_calls_is_traced_as_the_trace_ids_have_it(sample: float, told: int) -> None:
    kept = Kept()
    drawn = iter([7, 0x0, 7, 0x7FFFFFFFFFFFFFFF, 7, 0x8000000000000000, 7, (1 << 127) + 0xFFFFFFFFFFFFFFFF])
    traces = Traces(kept, lambda bits: next(drawn), sample=sample, gather_seconds=1000.0)
    for _ in range(4):
        traces.begins("GET", None)
        traces.recorded(ENTRY)
    traces.close()

    assert told == len(kept.entries)
    assert kept.is_closed


@pytest.mark.parametrize(("said", "told"), [("GET", "GET"), ("BREW", "_OTHER"), ("get", "_OTHER")])
def test_a_method_that_nobody_knows_is_not_told(said: str, told: str) -> None:
    kept = Kept()
    with tracing(kept) as traces:
        traces.begins(said, None)
        traces.recorded(ENTRY)

    assert [told] == [context.method for group in kept.groups for context, _ in group]


async def test_calls_at_once_are_not_taken_for_each_other() -> None:
    kept = Kept()
    first_has_begun, second_has_ended = asyncio.Event(), asyncio.Event()
    with tracing(kept) as traces:

        async def first() -> None:
            traces.begins("GET", f"00-{TRACE}-{SPAN}-01")
            first_has_begun.set()
            await second_has_ended.wait()
            traces.recorded(replace(ENTRY, id="first"))

        async def second() -> None:
            await first_has_begun.wait()
            traces.begins("GET", None)
            traces.recorded(replace(ENTRY, id="second"))
            second_has_ended.set()

        async with asyncio.TaskGroup() as both:
            both.create_task(first())
            both.create_task(second())

    assert {"first": int(TRACE, 16), "second": 3} == {
        entry.id: context.trace_id for group in kept.groups for context, entry in group
    }


def test_what_never_began_in_a_trace_is_not_told() -> None:
    kept = Kept()
    with tracing(kept) as traces:
        traces.recorded(ENTRY)

    assert ([], 0) == (kept.groups, traces.lost)


def test_calls_are_told_in_groups_and_beyond_what_may_wait_they_are_lost_and_counted() -> None:
    kept = Kept()
    with tracing(kept, most_waiting=5) as traces:
        traces.begins("GET", None)
        for number in range(8):
            traces.recorded(replace(ENTRY, id=str(number)))

        assert 3 == traces.lost

    assert [["0", "1", "2", "3", "4"]] == [[entry.id for _, entry in group] for group in kept.groups]


def test_so_many_calls_do_not_wait_for_others() -> None:
    kept = Kept()
    with tracing(kept) as traces:
        traces.begins("GET", None)
        for _ in range(600):
            traces.recorded(ENTRY)

        assert kept.tries.acquire(timeout=10)

    assert 600 == len(kept.entries)
    assert 512 >= max(map(len, kept.groups))


def test_a_collector_that_is_away_is_told_of_once_and_once_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    kept = Kept()
    kept.why = "it is away"
    with tracing(kept, gather_seconds=0.001, retry_seconds=0.001) as traces:
        traces.begins("GET", None)
        for _ in range(4):
            traces.recorded(ENTRY)
            assert kept.tries.acquire(timeout=10)
        kept.why = None
        traces.recorded(replace(ENTRY, id="back"))

        assert kept.tries.acquire(timeout=10)

    assert [("traces_not_taken", "it is away"), ("traces_taken_again", None)] == [
        (record.message, getattr(record, "error", None)) for record in caplog.records
    ]
    assert ["back"] == [entry.id for entry in kept.entries]
    assert 4 == traces.lost


def test_while_a_collector_is_away_no_more_than_one_call_is_spent_on_a_try() -> None:
    kept = Kept()
    kept.why = "it is away"
    with tracing(kept, gather_seconds=0.001) as traces:
        traces.begins("GET", None)
        traces.recorded(ENTRY)

        assert kept.tries.acquire(timeout=10)

        kept.why = None
        for number in range(3):
            traces.recorded(replace(ENTRY, id=str(number)))

    assert [["0"], ["1", "2"]] == [[entry.id for _, entry in group] for group in kept.groups]
    assert 1 == traces.lost


def test_a_collector_that_crashes_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Crashing(Kept):
        def take(self, calls: Sequence[tuple[Context, Entry]]) -> str | None:
            super().take(calls)
            if self.why is None:
                return None
            raise ZeroDivisionError("CANARY")

    kept = Crashing()
    kept.why = "crash"
    with tracing(kept, gather_seconds=0.001, retry_seconds=0.001) as traces:
        traces.begins("GET", None)
        traces.recorded(ENTRY)

        assert kept.tries.acquire(timeout=10)

        kept.why = None
        traces.recorded(ENTRY)

        assert kept.tries.acquire(timeout=10)

    assert ["ZeroDivisionError", None] == [getattr(record, "error", None) for record in caplog.records]
    assert "CANARY" not in caplog.text


@pytest.mark.parametrize("status", [400, 404, 500])
def test_why_a_collector_takes_nothing_is_said_and_nothing_else_is_logged(
    collector: FakeCollector, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.INFO)
    collector.status = status
    spans_of(collector, ENTRY)

    assert ["traces_not_taken"] == [record.message for record in caplog.records]
    assert str(status) in caplog.records[0].__dict__["error"]


def test_a_collector_that_is_not_there_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    with collecting() as gone:
        pass
    telling = OtlpCollector(gone.url, version="1", random_bits=numbers(), seconds=0.5)
    why = telling.take([(Context(1, 1, True, "GET"), ENTRY)])
    telling.close()

    assert "Failed to export" in str(why)
    assert [] == [record.message for record in caplog.records if "opentelemetry" in record.name]


def test_the_end_does_not_wait_for_a_collector_that_says_nothing() -> None:
    class Hanging(Kept):
        def take(self, calls: Sequence[tuple[Context, Entry]]) -> str | None:
            self.tries.release()
            is_over.wait(10)
            return "it was closed"

        def close(self) -> None:
            super().close()
            is_over.set()

    kept, is_over = Hanging(), threading.Event()
    with tracing(kept, gather_seconds=0.001, end_seconds=0.01) as traces:
        traces.begins("GET", None)
        traces.recorded(ENTRY)

        assert kept.tries.acquire(timeout=10)

        traces.recorded(ENTRY)

    assert kept.is_closed
    assert 1 <= traces.lost


def test_without_the_libraries_it_is_said_what_to_install() -> None:
    script = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from proxy.errors import Misconfigured\n"
        "from proxy.telemetry.traces import OtlpCollector\n"
        "try:\n"
        "    OtlpCollector('http://127.0.0.1:9/v1/traces', version='1', random_bits=lambda bits: 1)\n"
        "except Misconfigured as error:\n"
        "    print(error.message)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "llamagate[otel]" in told.stdout
