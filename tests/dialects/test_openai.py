import json
from typing import Any

import pytest

from proxy.dialects import Meter, Said
from proxy.dialects.counts import MOST_TOKENS, OVERSHOOT, Bounds
from proxy.dialects.events import LONGEST_EVENT
from proxy.dialects.openai import ChunksMeter, OpenAIDialect
from proxy.errors import NotUnderstood
from proxy.policy import endpoints
from proxy.vocabulary import Ask, Usage
from tests.dialects.recorded import CHUNKS, Sample, cut, seen

DIALECT = OpenAIDialect()


def read(body: bytes, path: str = "/v1/chat/completions") -> Ask:
    return DIALECT.read(endpoints.find("POST", path)[0], Said(body))


@pytest.mark.parametrize(
    ("path", "body", "stream"),
    [
        ("/v1/chat/completions", b"{}", False),
        ("/v1/chat/completions", b'{"stream":null}', False),
        ("/v1/chat/completions", b'{"stream":false}', False),
        ("/v1/chat/completions", b'{"stream":true}', True),
        ("/v1/completions", b"{}", False),
        ("/v1/completions", b'{"stream":true}', True),
        ("/v1/embeddings", b'{"stream":true}', False),
    ],
)
def test_an_answer_streams_where_it_was_asked_to_and_can(path: str, body: bytes, stream: bool) -> None:
    assert stream is read(body, path).stream


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"stream":"true"}', "stream"),
        (b'{"stream":1}', "stream"),
        (b'{"model":5}', "model"),
        (b'{"model":["a"]}', "model"),
        (b'{"Stream":true}', None),
        (b'{"stream":true,"Stream_Options":{}}', None),
        (b'{"stream":true,"stream_options":{},"stream_options":{}}', None),
        (b"[]", None),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(body: bytes, param: str | None) -> None:
    with pytest.raises(NotUnderstood) as refused:
        read(body)

    assert param == refused.value.param


def test_a_prompt_is_all_that_comes_into_it() -> None:
    ask = read(
        b'{"model":"mmmmmmmm","messages":["a"],"tools":[],"prompt":"aa","suffix":1,"input":"","user":"aaaaaaaa"}'
    )

    assert (2, 5 + 2 + 4 + 1 + 2) == (ask.prompt_floor, ask.prompt_bytes)


OPTIONS: list[tuple[bytes, dict[str, Any], bool]] = [
    (b"null", {}, True),
    (b"{}", {}, True),
    (b"{ }", {}, True),
    (b'{"include_usage":false}', {}, True),
    (b'{"include_usage":null}', {}, True),
    (b'{"include_usage":true}', {}, False),
    (b'{"\\u0069nclude_usage":true}', {}, False),
    (b'{"include_obfuscation":false}', {"include_obfuscation": False}, True),
    (b'{"x":1,"include_usage":true}', {"x": 1}, False),
]


@pytest.mark.parametrize(("options", "others", "hides_usage"), OPTIONS)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_stream_is_always_asked_for_its_counts(
    path: str, options: bytes, others: dict[str, Any], hides_usage: bool
) -> None:
    ask = read(b'{"model":"a","stream":true,"stream_options":' + options + b',"seed":1}', path)

    assert hides_usage is ask.hides_usage
    assert {"model": "a", "stream": True, "stream_options": {**others, "include_usage": True}, "seed": 1} == json.loads(
        ask.body or b""
    )
    assert 1 == (ask.body or b"").count(b"include_usage")


def test_a_stream_without_options_is_asked_for_its_counts_too() -> None:
    ask = read(b'{"stream":true}')

    assert ask.hides_usage
    assert b'{"stream":true,"stream_options":{"include_usage":true}}' == ask.body


@pytest.mark.parametrize("body", [b'{"model":"a"}', b'{"model":"a","stream":false}', b'{"model":"a","stream":null}'])
def test_a_whole_answer_tells_its_counts_unasked(body: bytes) -> None:
    ask = read(body)

    assert body == ask.body
    assert not ask.hides_usage


@pytest.mark.parametrize(
    "options",
    [
        b"[]",
        b'"x"',
        b"1",
        b"true",
        b'[{"include_usage":true}]',
        b'{"include_usage":"true"}',
        b'{"include_usage":1}',
        b'{"include_usage":{}}',
    ],
)
def test_options_of_a_wrong_type_are_refused(options: bytes) -> None:
    with pytest.raises(NotUnderstood) as refused:
        read(b'{"model":"a","stream":true,"stream_options":' + options + b"}")

    assert 400 == refused.value.status
    assert refused.value.param in ("stream_options", "include_usage")


@pytest.mark.parametrize("name", [b"Include_usage", b"INCLUDE_USAGE", b"include_u\\u017fage"])
@pytest.mark.parametrize("stream", [b"true", b"false"])
def test_options_spelled_as_only_go_reads_them_are_refused(name: bytes, stream: bytes) -> None:
    with pytest.raises(NotUnderstood):
        read(b'{"model":"a","stream":' + stream + b',"stream_options":{"' + name + b'":true}}')


def test_the_model_of_a_path_is_what_the_path_says() -> None:
    endpoint, segment = endpoints.find("GET", "/v1/models/llama3.2:1b")

    assert Ask(endpoint, model="llama3.2:1b") == DIALECT.read(endpoint, Said(b"rubbish", segment=segment))


def split(stream: bytes) -> list[bytes]:
    """The events of a stream with LF, each with its end: a reader of its own, so that ours is not held to itself."""
    return [event + b"\n\n" for event in stream.removesuffix(b"\n\n").split(b"\n\n")]


def told_in(event: bytes) -> dict[str, Any]:
    lines = [line.removeprefix(b"data:") for line in event.split(b"\n") if line.startswith(b"data:")]
    told: Any = None if [b" [DONE]"] == lines or not lines else json.loads(b"\n".join(lines))
    return told or {}


@pytest.mark.parametrize("sample", CHUNKS, ids=lambda sample: sample.name)
def test_hidden_usage_leaves_everything_else_as_it_was(sample: Sample) -> None:
    content = sample.content.rstrip() + b"\n\n"
    given, told = split(content), seen(sample.meter(hides_usage=True), content)
    shown = split(told.shown)

    expected = [event for event in given if told_in(event).get("choices") != []]
    assert len(expected) == len(shown)
    for before, after in zip(expected, shown, strict=True):
        if "usage" not in told_in(before):
            assert before == after
        else:
            assert {name: value for name, value in told_in(before).items() if name != "usage"} == told_in(after)
    assert all("usage" not in told_in(event) for event in shown)
    assert content.endswith(b"data: [DONE]\n\n") is told.shown.endswith(b"data: [DONE]\n\n")
    assert seen(sample.meter(), content).usage == told.usage


def test_an_event_with_lf_is_shown_as_soon_as_it_is_whole() -> None:
    meter = ChunksMeter(Bounds(3), hides_usage=True)
    event = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'

    assert b"" == meter.feed(event[:-1])
    assert event == meter.feed(event[-1:] + b"data: [DO")
    assert b"data: [DONE]\n\n" == meter.feed(b"NE]\n\n")


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n', b""),
        (b'data: {"choices":[],"usage":{"prompt_tokens":1}}\r\n\r\n', b""),
        (b'data: { "a" : 1.0 , "usage" : {} , "b" : [ 1 ] }\n\n', b'data: {"a":1.0,"b":[ 1 ]}\n\n'),
        (b'id: 1\r\ndata:{"a":"\\u00e9","usage":null}\r\n\r\n', b'id: 1\r\ndata:{"a":"\\u00e9"}\r\n\r\n'),
        (b'data: {"a":{"usage":1}}\n\n', b'data: {"a":{"usage":1}}\n\n'),
        (b'data: {"a":"\\"usage\\":{}"}\n\n', b'data: {"a":"\\"usage\\":{}"}\n\n'),
        (b'data: {"choices":[],"filtered":1}\n\n', b'data: {"choices":[],"filtered":1}\n\n'),
        (b'data: {"choices":[],"usage":null,"filtered":1}\n\n', b'data: {"choices":[],"filtered":1}\n\n'),
        (b'data: {"a":[1,\ndata: 2],"usage":{}}\n\n', b'data: {"a":[1,\ndata: 2]}\n\n'),
        (b": usage\n\n", b": usage\n\n"),
        (b"data: usage\n\n", b"data: usage\n\n"),
    ],
)
def test_usage_is_cut_out_of_an_event(event: bytes, shown: bytes) -> None:
    assert shown == seen(ChunksMeter(Bounds(3), hides_usage=True), event).shown
    assert event == seen(ChunksMeter(Bounds(3), hides_usage=False), event).shown


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        (b'{"prompt_tokens":11,"completion_tokens":7}', Usage(11, 7)),
        (b'{"prompt_tokens":11}', Usage(11, 0)),
        (b'{"prompt_tokens":0,"completion_tokens":0}', Usage(3, 0, exact=False)),
        (b'{"prompt_tokens":-11,"completion_tokens":-7}', Usage(3, 0, exact=False, suspicious=True)),
        (b'{"prompt_tokens":true,"completion_tokens":"7"}', Usage(3, 0, exact=False, suspicious=True)),
        (b'{"prompt_tokens":false,"completion_tokens":0.0}', Usage(3, 0, exact=False, suspicious=True)),
        (b'{"prompt_tokens":9999999999,"completion_tokens":7.5}', Usage(MOST_TOKENS, 0, exact=False, suspicious=True)),
        (b"[11,7]", Usage(3, 0, exact=False)),
        (b'"11"', Usage(3, 0, exact=False)),
        (b"null", Usage(3, 0, exact=False)),
    ],
)
def test_counts_are_read_where_they_can_be_believed(counts: bytes, usage: Usage) -> None:
    told = seen(
        ChunksMeter(Bounds(3), hides_usage=False), b'data: {"choices":[],"usage":' + counts + b"}\n\ndata: [DONE]\n\n"
    )

    assert (usage, True) == (told.usage, told.complete)


def test_the_last_usage_counts_that_is_not_all_zeros() -> None:
    events = b"".join(
        b'data: {"choices":[{"text":"a"}],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}\n\n' % counts
        for counts in [(0, 0), (5, 3), (5, 4), (0, 0)]
    )

    assert Usage(5, 4) == seen(ChunksMeter(Bounds(3), hides_usage=True), events).usage


def test_counts_that_fall_from_one_report_to_the_next_are_suspicious() -> None:
    events = b"".join(
        b'data: {"choices":[{"text":"a"}],"usage":{"prompt_tokens":5,"completion_tokens":%d}}\n\n' % count
        for count in [4, 2]
    )

    told = seen(ChunksMeter(Bounds(3), hides_usage=True), events)
    assert Usage(5, 4, exact=False, suspicious=True) == told.usage


def meter_for(fields: dict[str, bytes], path: str = "/v1/chat/completions", *, streamed: bool) -> Meter:
    ask = Ask(endpoints.find("POST", path)[0], fields=fields, prompt_floor=3)
    return DIALECT.meter(ask, streamed=streamed, visible=lambda _: True)


@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_longer_than_it_was_allowed_to_be_is_cut(streamed: bool) -> None:
    answer = b'{"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":10000}}'
    content = b"data: " + answer + b"\n\n" if streamed else answer

    limited = meter_for({"max_tokens": b"100"}, streamed=streamed)
    assert Usage(11, 100 + OVERSHOOT, exact=False, suspicious=True) == seen(limited, content).usage
    assert Usage(11, 10_000) == seen(meter_for({"max_tokens": b"null"}, streamed=streamed), content).usage


@pytest.mark.parametrize("reason", ["load", "unload"])
@pytest.mark.parametrize("streamed", [True, False])
def test_loading_a_model_costs_no_tokens_and_that_is_exact(reason: str, streamed: bool) -> None:
    answer = b'{"choices":[{"text":"","finish_reason":"%b"}],"usage":{"prompt_tokens":0,"completion_tokens":0}}'
    content = answer % reason.encode()
    content = b"data: " + content + b"\n\n" if streamed else content

    assert Usage() == seen(meter_for({}, "/v1/completions", streamed=streamed), content).usage


def test_a_prompt_that_was_only_shown_costs_no_tokens_and_that_is_exact() -> None:
    answer = (
        b'{"choices":[{"index":0,"message":{"role":"assistant","content":""},"finish_reason":null}],"usage":'
        b'{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0},"_debug_info":{"rendered_template":"<user>Hi"}}'
    )

    assert Usage() == seen(meter_for({}, streamed=False), answer).usage


@pytest.mark.parametrize(
    ("choice", "completion"),
    [
        ({"message": {"content": "Hi"}}, 1),
        ({"message": {"content": "Hi" * 5000}}, 1),
        ({"message": {"content": "", "tool_calls": [{}]}}, 1),
        ({"text": "Hi", "finish_reason": "load"}, 1),
        ({"message": {"content": ""}, "finish_reason": "stop"}, 0),
    ],
)
def test_an_answer_whose_counts_are_zeros_costs_its_floor(choice: dict[str, Any], completion: int) -> None:
    answer = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}).encode()

    assert Usage(3, completion, exact=False) == seen(meter_for({}, streamed=False), answer).usage


@pytest.mark.parametrize("choices", [b"[null]", b"[1]", b'"a"', b"{}", b'[{"delta":[]}]', b'[{"delta":{"content":7}}]'])
def test_choices_of_a_strange_shape_make_no_meter_fail(choices: bytes) -> None:
    event = b'data: {"choices":' + choices + b"}\n\n"

    assert event == seen(ChunksMeter(Bounds(3), hides_usage=True), event).shown


@pytest.mark.parametrize("hides_usage", [False, True])
@pytest.mark.parametrize("size", [1 << 20, LONGEST_EVENT * 2])
def test_an_event_too_long_to_hold_passes_unread_and_the_end_is_found(hides_usage: bool, size: int) -> None:
    long = b'data: {"usage":{"prompt_tokens":9},"choices":"' + b"x" * 2 * LONGEST_EVENT + b'"}\n\n'
    content = long + b'data: {"choices":[],"usage":{"prompt_tokens":11}}\n\ndata: [DONE]\n\n'
    meter = ChunksMeter(Bounds(3), hides_usage=hides_usage)
    fed = given = 0
    for piece in cut(content[: len(long) - 1], *range(0, len(long), size)):
        fed += len(piece)
        given += len(meter.feed(piece))
        assert fed - given <= LONGEST_EVENT
    meter.feed(content[len(long) - 1 :])
    meter.end()

    assert (Usage(11, 0), True) == (meter.usage, meter.complete)
    shown = content.replace(b'data: {"choices":[],"usage":{"prompt_tokens":11}}\n\n', b"") if hides_usage else content
    assert (
        shown
        == seen(ChunksMeter(Bounds(3), hides_usage=hides_usage), *cut(content, *range(0, len(content), size))).shown
    )
