import json

import pytest

from proxy.dialects import Said
from proxy.dialects.anthropic import AnthropicDialect, EventsMeter
from proxy.dialects.counts import MOST_TOKENS, OVERSHOOT, Bounds
from proxy.dialects.events import LONGEST_EVENT
from proxy.errors import NotUnderstood
from proxy.policy import endpoints
from proxy.vocabulary import Ask, Usage
from tests.dialects.recorded import cut, seen

DIALECT = AnthropicDialect()
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def read(body: bytes) -> Ask:
    return DIALECT.read(endpoints.find("POST", "/v1/messages")[0], Said(body))


@pytest.mark.parametrize(
    ("body", "stream"),
    [(b"{}", False), (b'{"stream":null}', False), (b'{"stream":false}', False), (b'{"stream":true}', True)],
)
def test_an_answer_streams_where_it_was_asked_to(body: bytes, stream: bool) -> None:
    ask = read(body)

    assert stream is ask.stream
    assert body == ask.body
    assert not ask.hides_usage


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"stream":"true"}', "stream"),
        (b'{"stream":1}', "stream"),
        (b'{"model":5}', "model"),
        (b'{"Max_Tokens":5}', None),
        (b'{"model":"a"}{}', None),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(body: bytes, param: str | None) -> None:
    with pytest.raises(NotUnderstood) as refused:
        read(body)

    assert param == refused.value.param


def test_a_prompt_is_the_system_the_messages_and_the_tools() -> None:
    words = "word " * 100
    body = {"model": "m" * 99, "system": words, "messages": [words], "tools": [words], "metadata": words}

    ask = read(json.dumps(body).encode())

    assert 300 <= ask.prompt_floor <= 305
    assert 1500 + 3 * 2 + 2 * 2 == ask.prompt_bytes


def delta(usage: bytes) -> bytes:
    return b'event: message_delta\ndata: {"type":"message_delta","usage":' + usage + b"}\n\n"


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (b'{"input_tokens":11,"output_tokens":7}', Usage(11, 7)),
        (b'{"output_tokens":7}', Usage(3, 7, exact=False)),
        (b'{"input_tokens":1,"cache_read_input_tokens":30,"output_tokens":7}', Usage(31, 7)),
        (
            b'{"input_tokens":1,"cache_read_input_tokens":30,"cache_creation_input_tokens":5,"output_tokens":7}',
            Usage(36, 7),
        ),
        (b'{"input_tokens":11,"cache_read_input_tokens":-4,"output_tokens":7}', Usage(11, 7)),
        (b'{"input_tokens":11,"cache_read_input_tokens":"4","output_tokens":7}', Usage(11, 7)),
        (b'{"input_tokens":-11,"output_tokens":true}', Usage(3, 0, exact=False, suspicious=True)),
        (b'{"input_tokens":"11","output_tokens":7e9}', Usage(3, 0, exact=False, suspicious=True)),
        (b'{"input_tokens":11,"output_tokens":7000000000}', Usage(11, MOST_TOKENS, exact=False, suspicious=True)),
        (b"null", Usage(3, 0, exact=False)),
        (b"[11,7]", Usage(3, 0, exact=False)),
    ],
)
def test_counts_are_read_where_they_can_be_believed(usage: bytes, counts: Usage) -> None:
    told = seen(EventsMeter(Bounds(3)), delta(usage) + STOP)

    assert (counts, True, False) == (told.usage, told.complete, told.failed)


def test_the_estimate_at_the_beginning_is_not_believed() -> None:
    start = b'data: {"type":"message_start","message":{"usage":{"input_tokens":999}},"usage":{"input_tokens":999}}\n\n'

    assert Usage(3, 0, exact=False) == seen(EventsMeter(Bounds(3)), start).usage
    assert Usage(11, 7) == seen(EventsMeter(Bounds(3)), start + delta(b'{"input_tokens":11,"output_tokens":7}')).usage


def test_counts_that_fall_from_one_report_to_the_next_are_suspicious() -> None:
    counts = [b'{"input_tokens":11,"output_tokens":7}', b'{"input_tokens":11,"output_tokens":2}']

    assert Usage(11, 7) == seen(EventsMeter(Bounds(3)), *map(delta, reversed(counts))).usage
    assert Usage(11, 7, exact=False, suspicious=True) == seen(EventsMeter(Bounds(3)), *map(delta, counts)).usage


@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_longer_than_it_was_allowed_to_be_is_cut(streamed: bool) -> None:
    ask = Ask(endpoints.find("POST", "/v1/messages")[0], fields={"max_tokens": b"100"}, prompt_floor=3)
    usage = b'{"input_tokens":11,"output_tokens":10000}'
    answer = delta(usage) + STOP if streamed else b'{"content":null,"usage":' + usage + b"}"
    meter = DIALECT.meter(ask, streamed=streamed, visible=lambda _: True)

    assert Usage(11, 100 + OVERSHOOT, exact=False, suspicious=True) == seen(meter, answer).usage


@pytest.mark.parametrize(("content", "completion"), [(b"null", 0), (b"[]", 0), (b'[{"text":"Hi"}]', 1)])
def test_an_answer_without_counts_costs_its_floor(content: bytes, completion: int) -> None:
    ask = Ask(endpoints.find("POST", "/v1/messages")[0], prompt_floor=3)
    meter = DIALECT.meter(ask, streamed=False, visible=lambda _: True)
    answer = b'{"content":' + content + b',"usage":{"input_tokens":0,"output_tokens":0}}'

    assert Usage(3, completion, exact=False) == seen(meter, answer).usage


def test_the_name_of_an_event_does_not_tell_what_it_is() -> None:
    assert not seen(EventsMeter(Bounds(3)), b'event: message_stop\ndata: {"type":"ping"}\n\n').complete


def test_an_event_too_long_to_hold_passes_unread_and_the_end_is_found() -> None:
    long = b'data: {"type":"error","x":"' + b"x" * LONGEST_EVENT + b'"}\n\n'
    told = seen(EventsMeter(Bounds(3)), *cut(long + STOP, *range(0, len(long), 1 << 20)))

    assert (long + STOP, True, False) == (told.shown, told.complete, told.failed)
