import json
import tracemalloc

import pytest

from proxy.dialects import Meter, Said
from proxy.dialects.counts import MOST_TOKENS, OVERSHOOT, Bounds
from proxy.dialects.events import LONGEST_EVENT
from proxy.dialects.ollama import LinesMeter, OllamaDialect
from proxy.errors import NotUnderstood
from proxy.policy import endpoints
from proxy.vocabulary import Ask, Usage
from tests.dialects.recorded import SAMPLES, cut, seen

DIALECT = OllamaDialect()


def meter_for(fields: dict[str, bytes], path: str = "/api/chat", *, streamed: bool) -> Meter:
    ask = Ask(endpoints.find("POST", path)[0], fields=fields, prompt_floor=3)
    return DIALECT.meter(ask, streamed=streamed, visible=lambda _: True)


def read(body: bytes, path: str = "/api/chat") -> Ask:
    return DIALECT.read(endpoints.find("POST", path)[0], Said(body))


@pytest.mark.parametrize(
    ("path", "body", "stream"),
    [
        ("/api/chat", b"{}", True),
        ("/api/generate", b"{}", True),
        ("/api/chat", b'{"stream":null}', True),
        ("/api/chat", b'{"stream":true}', True),
        ("/api/chat", b'{"stream":false}', False),
        ("/api/embed", b"{}", False),
        ("/api/embed", b'{"stream":true}', False),
        ("/api/embeddings", b"{}", False),
        ("/api/show", b"{}", False),
    ],
)
def test_an_answer_streams_unless_told_not_to_where_it_can(path: str, body: bytes, stream: bool) -> None:
    assert stream is read(body, path).stream


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"stream":"true"}', "stream"),
        (b'{"stream":1}', "stream"),
        (b'{"stream":[]}', "stream"),
        (b'{"model":5}', "model"),
        (b'{"model":{"name":"a"}}', "model"),
        (b'{"MODEL":"a"}', None),
        (b'{"Name":"a"}', None),
        (b"", None),
        (b"null", None),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(body: bytes, param: str | None) -> None:
    with pytest.raises(NotUnderstood) as refused:
        read(body)

    assert param == refused.value.param


def test_what_is_sent_on_is_written_anew_with_each_value_as_it_came() -> None:
    ask = read(b' { "model" : "a", "options" : { "num_ctx" : 10, "x": 1.0 }, "new": "\\u00e9" } ')

    assert "a" == ask.model
    assert b'{"model":"a","options":{ "num_ctx" : 10, "x": 1.0 },"new":"\\u00e9"}' == ask.body
    assert not ask.hides_usage


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"model":"a"}', "a"),
        (b'{"name":"a"}', "a"),
        (b'{"model":"a","name":"b"}', "a"),
        (b'{"model":"","name":"b"}', "b"),
        (b'{"model":null,"name":"b"}', "b"),
        (b"{}", ""),
    ],
)
@pytest.mark.parametrize("path", ["/api/show", "/api/pull", "/api/push", "/api/create"])
def test_a_model_is_named_by_either_word_for_it(path: str, body: bytes, model: str) -> None:
    assert model == read(body, path).model


def test_the_older_word_means_nothing_elsewhere() -> None:
    assert "" == read(b'{"name":"a"}').model


def test_a_body_of_a_request_that_has_none_is_not_read() -> None:
    endpoint, _ = endpoints.find("GET", "/api/tags")

    assert Ask(endpoint) == DIALECT.read(endpoint, Said(b"rubbish"))


@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_what_a_path_names_is_kept_for_it(method: str) -> None:
    endpoint, segment = endpoints.find(method, f"/api/blobs/sha256:{'0' * 64}")

    assert Ask(endpoint, segment=segment) == DIALECT.read(endpoint, Said(segment=segment))


def test_a_prompt_costs_by_its_length_at_the_least() -> None:
    prompt = "word " * 100

    assert 100 == read(json.dumps({"model": "m" * 999, "prompt": prompt}).encode(), "/api/generate").prompt_floor
    assert 100 <= read(json.dumps({"messages": [{"role": "user", "content": prompt}]}).encode()).prompt_floor <= 110
    assert 0 == read(b'{"model":"m"}').prompt_floor


def test_a_prompt_costs_at_the_most_by_all_that_can_come_into_it() -> None:
    members = {"prompt": "ab", "suffix": 1, "system": 1, "tools": [1], "template": "", "context": [1], "images": [""]}
    ask = read(json.dumps({"model": "m" * 99, "format": {}, **members}).encode(), "/api/generate")

    assert 4 + 1 + 1 + 3 + 2 + 3 + 4 == ask.prompt_bytes


LAST = b'{"model":"m","done":true,"done_reason":"stop",%b}\n'


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        (b'"prompt_eval_count":11,"eval_count":7', Usage(11, 7)),
        (b'"prompt_eval_count":11', Usage(11, 0)),
        (b'"eval_count":7', Usage(3, 7, exact=False)),
        (b'"prompt_eval_count":-11,"eval_count":7', Usage(3, 7, exact=False, suspicious=True)),
        (b'"prompt_eval_count":99999999999,"eval_count":7', Usage(MOST_TOKENS, 7, exact=False, suspicious=True)),
        (b'"prompt_eval_count":true,"eval_count":"7"', Usage(3, 0, exact=False, suspicious=True)),
        (b'"prompt_eval_count":1e3,"eval_count":[7]', Usage(3, 0, exact=False, suspicious=True)),
        (
            b'"prompt_eval_count":1,"load_duration":500000000,"prompt_eval_duration":1000000000,"eval_duration":2500000000',
            Usage(1, load_seconds=0.5, prompt_seconds=1.0, completion_seconds=2.5),
        ),
        (b'"prompt_eval_count":1,"load_duration":-1,"eval_duration":9', Usage(1, exact=False, suspicious=True)),
    ],
)
def test_counts_and_durations_are_read_where_they_can_be_believed(counts: bytes, usage: Usage) -> None:
    told = seen(LinesMeter(Bounds(3)), LAST % counts)

    assert (usage, True, False) == (told.usage, told.complete, told.failed)


@pytest.mark.parametrize("done", [b'"true"', b"1", b"null", b"false"])
def test_only_true_is_done(done: bytes) -> None:
    told = seen(LinesMeter(Bounds(3)), b'{"done":%b,"eval_count":7}\n' % done)

    assert (Usage(3, 0, exact=False), False) == (told.usage, told.complete)


def test_a_stream_is_counted_as_it_comes() -> None:
    (sample,) = (sample for sample in SAMPLES if sample.name == "chat-thinking-tools.ndjson")
    meter = LinesMeter(Bounds(3))
    counted = []
    for line in sample.content.splitlines(keepends=True):
        meter.feed(line)
        counted.append((meter.usage.completion_tokens, meter.usage.exact, meter.complete))

    assert [(1, False, False), (2, False, False), (7, True, True)] == counted
    assert (0.5, 1.0, 1.5) == (
        meter.usage.load_seconds,
        meter.usage.prompt_seconds,
        meter.usage.completion_seconds,
    )


def test_a_piece_of_no_bytes_does_not_make_the_rest_of_a_line_a_line_of_its_own() -> None:
    pieces = (
        b'{"model":"m","message":',
        b"",
        b'{"role":"assistant","content":"Hi"},"done":false}\n',
        b'{"done":true,"prompt_eval_count":11,"eval_count":7}\n',
    )
    told = seen(LinesMeter(Bounds(3)), *pieces)

    assert (Usage(11, 7), True) == (told.usage, told.complete)


def test_a_context_of_megabytes_is_read() -> None:
    line = LAST % (b'"eval_count":7,"context":[' + b"128006," * 300_000 + b"1]")

    assert Usage(3, 7, exact=False) == seen(LinesMeter(Bounds(3)), *cut(line, *range(0, len(line), 65_536))).usage


@pytest.mark.parametrize("size", [1 << 20, LONGEST_EVENT + 1])
def test_a_line_too_long_to_hold_passes_unread_and_the_next_is_read(size: int) -> None:
    piece = b'{"done":true,"eval_count":1}'.ljust(size)
    meter = LinesMeter(Bounds(3))
    tracemalloc.start()
    for _ in range(3 * LONGEST_EVENT // size):
        assert piece == meter.feed(piece)
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held <= LONGEST_EVENT * 1.2
    assert most < LONGEST_EVENT * 3.5
    meter.feed(b'{"done":true,"eval_count":2}\n')
    assert not meter.complete
    meter.feed(LAST % b'"eval_count":7')
    assert (Usage(3, 7, exact=False), True) == (meter.usage, meter.complete)


def test_the_longest_line_is_read_however_it_comes() -> None:
    line = b'{"done":true}'.ljust(LONGEST_EVENT)

    assert seen(LinesMeter(Bounds(3)), line + b"\n").complete
    assert seen(LinesMeter(Bounds(3)), line[:9], line[9:], b"\n").complete
    assert not seen(LinesMeter(Bounds(3)), line + b" \n").complete
    assert not seen(LinesMeter(Bounds(3)), line, b" ", b"\n").complete


@pytest.mark.parametrize("reason", ["load", "unload"])
@pytest.mark.parametrize("streamed", [True, False])
def test_loading_a_model_costs_no_tokens_and_that_is_exact(reason: str, streamed: bool) -> None:
    answer = b'{"model":"m","response":"","done":true,"done_reason":"%b"}' % reason.encode()

    assert Usage() == seen(meter_for({}, streamed=streamed), answer).usage


@pytest.mark.parametrize("answer", [{"response": "Hi"}, {"message": {"content": "Hi"}}, {"response": "Hi" * 5000}])
@pytest.mark.parametrize("reason", ["stop", "load"])
def test_an_answer_that_leaves_its_counts_out_costs_its_floor(answer: dict[str, object], reason: str) -> None:
    text = json.dumps({**answer, "done": True, "done_reason": reason}).encode()

    assert Usage(3, 1, exact=False) == seen(meter_for({}, streamed=False), text).usage
    assert Usage(3, 1, exact=False) == seen(meter_for({}, streamed=True), text).usage


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        (b'{"embeddings":[]}', Usage()),
        (
            b'{"embeddings":[],"load_duration":500000000,"total_duration":2000000000,"prompt_eval_count":8}',
            Usage(8, load_seconds=0.5, prompt_seconds=1.5),
        ),
        (b'{"embeddings":[1],"total_duration":2000000000,"prompt_eval_count":8}', Usage(8, prompt_seconds=2.0)),
        (b'{"embeddings":[1],"load_duration":2000000000,"prompt_eval_count":8}', Usage(8)),
        (
            b'{"embeddings":[1],"load_duration":2,"total_duration":1,"prompt_eval_count":8}',
            Usage(8, exact=False, suspicious=True),
        ),
        (
            b'{"embeddings":[1],"load_duration":[],"total_duration":"1","prompt_eval_count":8}',
            Usage(8, exact=False, suspicious=True),
        ),
        (b'{"embeddings":[[0.5]]}', Usage(3, exact=False)),
        (b'{"embeddings":[[0.5]],"prompt_eval_count":8}', Usage(8)),
        (b'{"embeddings":[[0.5]],"prompt_eval_count":8,"eval_count":5}', Usage(8, exact=False, suspicious=True)),
        (b'{"embeddings":[[0.5]],"prompt_eval_count":-8}', Usage(3, exact=False, suspicious=True)),
    ],
)
def test_embeddings_cost_their_prompt(answer: bytes, usage: Usage) -> None:
    assert usage == seen(meter_for({}, "/api/embed", streamed=False), answer).usage


def test_the_older_embeddings_are_an_estimate_whatever_they_say() -> None:
    answer = b'{"embedding":[0.5],"prompt_eval_count":99}'

    assert Usage(3, exact=False) == seen(meter_for({}, "/api/embeddings", streamed=False), answer).usage


@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_longer_than_it_was_allowed_to_be_is_cut(streamed: bool) -> None:
    answer = b'{"done":true,"prompt_eval_count":11,"eval_count":100000}'

    limited = meter_for({"options": b'{"num_predict":100}'}, streamed=streamed)
    assert Usage(11, 100 + OVERSHOOT, exact=False, suspicious=True) == seen(limited, answer).usage
    for options in (b'{"num_predict":-1}', b"{}", b"null", b"7"):
        endless = meter_for({"options": options}, streamed=streamed)
        assert Usage(11, 100_000) == seen(endless, answer).usage
