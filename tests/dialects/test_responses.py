import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects import Meter, Said
from proxy.dialects.counts import OVERSHOOT
from proxy.dialects.events import LONGEST_EVENT
from proxy.dialects.responses import ResponsesDialect
from proxy.errors import NotUnderstood
from proxy.vocabulary import Ask, Endpoint, ModelIn, Risk, Takes, Tongue, Usage, UsageIn

SAMPLES = Path(__file__).parents[1] / "samples"
ENDPOINT = Endpoint(
    "POST",
    "/v1/responses",
    Tongue.RESPONSES,
    Risk.INFERENCE,
    Takes.JSON,
    ModelIn.BODY,
    UsageIn.COMPLETED,
    streams=False,
)
DIALECT = ResponsesDialect()
ASKED = Ask(ENDPOINT, model="gemma3", prompt_floor=5)
COMPLETED = b'data: {"type":"response.completed","response":{"usage":{"input_tokens":7,"output_tokens":3}}}\n\n'


@dataclass(frozen=True, slots=True)
class Recorded:
    """A sample, and what a meter must make of it."""

    file: str
    usage: Usage
    complete: bool = True
    failed: bool = False

    @property
    def content(self) -> bytes:
        return (SAMPLES / self.file).read_bytes()


RECORDED = (
    Recorded("v1-responses.sse", Usage(19, 4)),
    Recorded("v1-responses-reasoning-tools.sse", Usage(88, 31)),
    Recorded("v1-responses-only-loaded.sse", Usage(0, 0)),
    Recorded("v1-responses-broken-off.sse", Usage(5, 3, exact=False), complete=False),
    Recorded("v1-responses-failed.sse", Usage(5, 1, exact=False), complete=False, failed=True),
)
recorded = pytest.mark.parametrize("sample", RECORDED, ids=lambda sample: sample.file)


def meter(*, streamed: bool = True) -> Meter:
    return DIALECT.meter(ASKED, streamed=streamed, visible=lambda _: True)


def read(body: str) -> Ask:
    return DIALECT.read(ENDPOINT, Said(body.encode()))


def shown(watch: Meter, *chunks: bytes) -> bytes:
    return b"".join([*map(watch.feed, chunks), watch.end()])


def test_a_request_is_read_and_every_member_keeps_its_bytes() -> None:
    body = '{"model":"gemma3","stream":true,"input":[ 1.0 ],"max_output_tokens":10,"store":false,"else":1e3}'
    ask = read(body)

    assert ("gemma3", True) == (ask.model, ask.stream)
    assert body.encode() == ask.body


def test_it_streams_only_where_that_is_asked_for() -> None:
    assert not read('{"model":"gemma3"}').stream
    assert not read('{"model":"gemma3","stream":null}').stream


def test_the_floor_of_the_prompt_is_by_instructions_input_and_tools() -> None:
    ask = read('{"instructions":"aaa","input":"bbb","tools":[123],"metadata":{"k":"ccccccccc"}}')

    assert (3, 15) == (ask.prompt_floor, ask.prompt_bytes)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        '{"Model":"a"}',
        '{"model":"a","in\u017ftructions":"b"}',
        '{"model":"a","MAX_OUTPUT_TOKENS":1}',
        '{"model":"a","model":"b"}',
        '{"model":["a"]}',
        '{"model":"a","stream":"true"}',
        '{"model":"a"}{"model":"b"}',
    ],
)
def test_what_go_would_read_otherwise_is_not_understood(body: str) -> None:
    with pytest.raises(NotUnderstood):
        read(body)


@recorded
def test_a_stream_passes_untouched_and_is_counted(sample: Recorded) -> None:
    watch = meter()

    assert sample.content == shown(watch, sample.content)
    assert (sample.usage, sample.complete, sample.failed) == (watch.usage, watch.complete, watch.failed)
    assert not watch.rewrites


@given(st.sampled_from(RECORDED), st.lists(st.integers(0, 6000)))
def test_a_stream_is_read_alike_however_it_is_cut(sample: Recorded, cuts: list[int]) -> None:
    content = sample.content
    ends = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    watch = meter()

    assert content == shown(watch, *(content[begin:end] for begin, end in pairwise(ends)))
    assert (sample.usage, sample.complete, sample.failed) == (watch.usage, watch.complete, watch.failed)


@recorded
def test_a_stream_with_other_line_ends_is_read_alike(sample: Recorded) -> None:
    watch = meter()
    shown(watch, sample.content.replace(b"\n", b"\r\n"))

    assert (sample.usage, sample.complete, sample.failed) == (watch.usage, watch.complete, watch.failed)


def test_a_last_line_of_megabytes_is_read() -> None:
    content = COMPLETED.replace(b'"usage"', b'"instructions":"' + b"x" * 3_000_000 + b'","usage"')
    watch = meter()

    assert content == shown(watch, *(content[at : at + 65_536] for at in range(0, len(content), 65_536)))
    assert (Usage(7, 3), True) == (watch.usage, watch.complete)


@pytest.mark.parametrize(("name", "complete"), [("response.completed", True), ("response.in_progress", False)])
def test_an_event_too_long_to_be_held_passes_and_its_name_tells_whether_it_was_the_last(
    name: str, complete: bool
) -> None:
    content = f"event: {name}\ndata: ".encode() + b"x" * (LONGEST_EVENT + 2_000_000) + b"\n\n"
    watch = meter()
    chunks = [content[at : at + 1_000_000] for at in range(0, len(content), 1_000_000)]

    assert content == shown(watch, *chunks)
    assert (Usage(5, 0, exact=False), complete) == (watch.usage, watch.complete)


def test_a_last_event_too_long_to_be_held_makes_no_answer_whole_before_it_has_ended() -> None:
    watch = meter()
    watch.feed(b"event: response.completed\ndata: " + b"x" * LONGEST_EVENT)

    assert not watch.complete
    watch.feed(b"y" * LONGEST_EVENT + b"\n")
    assert not watch.complete
    watch.feed(b"\n")
    assert watch.complete


@pytest.mark.parametrize("event", [b"data: [DONE]\n\n", b"data: {\n\n", b"data: 1\n\n", b": ping\n\n", b"data: {}\n\n"])
def test_what_is_no_event_of_this_dialect_changes_nothing(event: bytes) -> None:
    watch = meter()
    shown(watch, event)

    assert (Usage(5, 0, exact=False), False, False) == (watch.usage, watch.complete, watch.failed)


@pytest.mark.parametrize(
    "event", [b'{"type":"error","message":"no"}', b'{"type":"response.failed"}', b'{"error":{"message":"no"}}']
)
def test_an_error_within_the_stream_is_a_failure(event: bytes) -> None:
    watch = meter()
    shown(watch, b"data: " + event + b"\n\n")

    assert watch.failed
    assert not watch.complete


def test_a_whole_answer_is_counted() -> None:
    content = (SAMPLES / "v1-responses.json").read_bytes()
    watch = meter(streamed=False)

    assert content == shown(watch, content)
    assert (Usage(19, 4), True) == (watch.usage, watch.complete)


@pytest.mark.parametrize(
    ("output", "usage"),
    [
        (b"[]", Usage()),
        (b'[{"type":"message","content":[]}]', Usage()),
        (b'[{"type":"message","content":[{"type":"output_text","text":""}]}]', Usage()),
        (b'[{"type":"message","content":[{"text":""},{"text":"Hi"}]}]', Usage(5, 1, exact=False)),
        (b'[{"type":"message","content":[{"refusal":"No"}]}]', Usage(5, 1, exact=False)),
        (b"null", Usage()),
        (b'[{"type":"message","content":[{"text":"Hi"}]}]', Usage(5, 1, exact=False)),
        (b'[{"type":"function_call"}]', Usage(5, 1, exact=False)),
    ],
)
def test_zeros_are_true_only_where_nothing_was_said(output: bytes, usage: Usage) -> None:
    response = b'{"output":' + output + b',"usage":{"input_tokens":0,"output_tokens":0}}'
    streamed, whole = meter(), meter(streamed=False)
    shown(streamed, b'data: {"type":"response.completed","response":' + response + b"}\n\n")
    shown(whole, response)

    assert (usage, usage) == (streamed.usage, whole.usage)


@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_longer_than_it_was_allowed_to_be_is_cut(streamed: bool) -> None:
    response = b'{"output":[],"usage":{"input_tokens":7,"output_tokens":10000}}'
    ask = Ask(ENDPOINT, fields={"max_output_tokens": b"100"}, prompt_floor=5)
    watch = DIALECT.meter(ask, streamed=streamed, visible=lambda _: True)
    shown(watch, b'data: {"type":"response.completed","response":' + response + b"}\n\n" if streamed else response)

    assert Usage(7, 100 + OVERSHOOT, exact=False, suspicious=True) == watch.usage


def test_a_refusal_has_the_shape_of_the_other_routes() -> None:
    assert {
        "error": {"message": "No.", "type": "not_found_error", "param": None, "code": "model_not_found"}
    } == json.loads(DIALECT.refusal(404, "model_not_found", "No.", "id1"))


def answering(content: bytes) -> openai.OpenAI:
    head = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=head, content=content))
    return openai.OpenAI(
        base_url="http://gate.test/v1",
        api_key="k",
        max_retries=0,
        http_client=openai.DefaultHttpxClient(transport=transport),
    )


def created(client: openai.OpenAI) -> Iterable[object]:
    return client.responses.create(model="gemma3", input="x", stream=True)


def gathered(client: openai.OpenAI) -> Iterable[object]:
    with client.responses.stream(model="gemma3", input="x") as stream:
        yield from stream


@pytest.mark.parametrize("events", [created, gathered])
def test_openai_s_own_client_raises_on_our_last_words(events: Callable[[openai.OpenAI], Iterable[object]]) -> None:
    begun = (SAMPLES / "v1-responses-broken-off.sse").read_bytes()
    words = DIALECT.last_words("truncated", "It ended too early.", "id1")
    with answering(begun + words) as client, pytest.raises(openai.APIError, match=r"It ended too early\.") as caught:
        list(events(client))

    assert "truncated" == caught.value.code


def test_our_last_words_are_one_failed_event_that_comes_after_all_others() -> None:
    name, data, *end = DIALECT.last_words("truncated", "It ended too early.", "id1").split(b"\n")
    told = json.loads(data.removeprefix(b"data: "))

    assert (b"event: response.failed", [b"", b""]) == (name, end)
    assert ("response.failed", "failed") == (told["type"], told["response"]["status"])
    assert "It ended too early." == told["response"]["error"]["message"]
    assert told["sequence_number"] > 1_000_000


def test_our_own_meter_takes_our_last_words_for_a_failure() -> None:
    watch = meter()
    shown(watch, DIALECT.last_words("truncated", "It ended too early.", "id1"))

    assert watch.failed
