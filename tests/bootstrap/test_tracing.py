from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from proxy.bootstrap.tracing import believing, tracing
from proxy.config.settings import Settings
from tests.conftest import Gate, OpenGate
from tests.fakes.answers import NATIVE_LINES, NDJSON, question, streamed
from tests.fakes.collector import FakeCollector, attributes, collecting
from tests.fakes.eventually import eventually
from tests.fakes.upstream import RecordingUpstream

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAID = f"Traceparent: 00-{TRACE}-{SPAN}-01"


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    with collecting() as collector:
        yield collector


async def traced(gate: Gate, upstream: RecordingUpstream, collector: FakeCollector, *fields: str) -> Span:
    """The span of one call."""
    before = len(collector.spans)
    upstream.says(*streamed(NDJSON, NATIVE_LINES))
    await gate.ask(gate.post("/api/chat", question(), *fields))

    async def look() -> Span | None:
        return collector.spans[before] if len(collector.spans) > before else None

    return await eventually(look, 10, "a span")


def passed_on(upstream: RecordingUpstream) -> list[str]:
    """What Ollama was told of traces, over all its connections."""
    heads = b"".join(bytes(connection.received) for connection in upstream.connections).split(b"\r\n")
    return [line.decode().partition(": ")[2] for line in heads if line.lower().startswith(b"trace")]


async def test_without_an_endpoint_nothing_is_traced() -> None:
    async with tracing(Settings()) as traces:
        assert traces is None


async def test_a_call_through_the_gate_is_told_as_a_trace_and_ollama_hears_nothing_of_it(
    open_gate: OpenGate, upstream: RecordingUpstream, collector: FakeCollector
) -> None:
    gate = await open_gate(traces={"endpoint": collector.url})
    span = await traced(gate, upstream, collector, SAID)

    assert "chat llama3.2:1b" == span.name
    assert (26, 3, 200) == tuple(
        attributes(span)[name]
        for name in ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "http.response.status_code")
    )
    assert gate.heard.entries[0].id == attributes(span)["llamagate.call.id"]
    assert TRACE != span.trace_id.hex()
    assert [] == passed_on(upstream)
    for canary in (b"alice", b"why", b"Because", gate.key.encode(), b"127.0.0.1"):
        assert canary not in b"".join(collector.bodies)


async def test_ollama_is_told_the_span_of_the_call_where_that_is_wanted(
    open_gate: OpenGate, upstream: RecordingUpstream, collector: FakeCollector
) -> None:
    gate = await open_gate(
        traces={"endpoint": collector.url, "pass_traceparent": True, "honour_traceparent": "everybody"}
    )
    span = await traced(gate, upstream, collector, SAID, "Tracestate: vendor=CANARY", "Baggage: user=CANARY")

    assert (TRACE, SPAN) == (span.trace_id.hex(), span.parent_span_id.hex())
    assert [f"00-{TRACE}-{span.span_id.hex()}-01"] == passed_on(upstream)


async def test_of_two_traceparents_neither_is_believed(
    open_gate: OpenGate, upstream: RecordingUpstream, collector: FakeCollector
) -> None:
    gate = await open_gate(traces={"endpoint": collector.url, "honour_traceparent": "everybody"})
    span = await traced(gate, upstream, collector, SAID, SAID)

    assert (True, b"") == (TRACE != span.trace_id.hex(), span.parent_span_id)


@pytest.mark.parametrize(("proxies", "is_believed"), [("127.0.0.0/8", True), ("10.0.0.0/8", False)])
async def test_a_trusted_proxy_is_believed_and_others_are_not(
    open_gate: OpenGate, upstream: RecordingUpstream, collector: FakeCollector, proxies: str, is_believed: bool
) -> None:
    traces = {"endpoint": collector.url, "honour_traceparent": "proxies"}
    gate = await open_gate(trusted_proxies=proxies, traces=traces)
    span = await traced(gate, upstream, collector, SAID, "X-Forwarded-For: 198.51.100.7")

    assert is_believed == (TRACE == span.trace_id.hex())


@pytest.mark.parametrize(
    ("told", "peers"),
    [
        ({}, []),
        ({"honour_traceparent": "nobody"}, []),
        ({"honour_traceparent": "proxies"}, ["10.1.2.3"]),
        ({"honour_traceparent": "everybody"}, ["10.1.2.3", "192.0.2.1", ""]),
    ],
)
def test_whose_word_is_taken(told: dict[str, Any], peers: list[str]) -> None:
    settings = Settings.model_validate(
        {"trusted_proxies": "10.0.0.0/8", "traces": {"endpoint": "http://127.0.0.1:4318/v1/traces", **told}}
    )

    assert peers == [peer for peer in ("10.1.2.3", "192.0.2.1", "") if believing(settings)(peer)]


async def test_what_is_left_is_told_before_the_gate_has_gone(collector: FakeCollector, tmp_path: Any) -> None:
    settings = Settings.model_validate(
        {"state_dir": tmp_path, "traces": {"endpoint": collector.url, "callers": "hash"}}
    )
    async with tracing(settings) as traces:
        assert traces is not None

    assert ([], 0) == (collector.spans, traces.lost)
