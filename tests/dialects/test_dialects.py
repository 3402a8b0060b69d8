"""One suite for every meter, over every sample."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from proxy.dialects import Meter, Said
from proxy.dialects.counts import MOST_TOKENS
from proxy.dialects.screen import BEGINNING
from proxy.dialects.table import DIALECTS
from proxy.policy import endpoints
from proxy.vocabulary import Ask, Usage
from tests.dialects.recorded import CHUNKS, FOLDER, SAMPLES, Sample, cut, seen


def with_crlf(content: bytes) -> bytes:
    return content.replace(b"\n", b"\r\n")


VARIANTS = [(sample, False, False) for sample in SAMPLES]
VARIANTS += [(sample, False, True) for sample in SAMPLES if sample.streamed]
VARIANTS += [(sample, True, crlf) for sample in CHUNKS for crlf in (False, True)]
"""Each sample, whether its usage is hidden, and whether its lines end with CRLF."""


def test_every_sample_has_its_expectation_and_tells_nothing_of_where_it_was_made() -> None:
    files = {path.name for path in FOLDER.iterdir()} - {"README.md", "nginx-verdicts.json"}

    assert files == {sample.name for sample in SAMPLES}
    for sample in SAMPLES:
        for told in (b"/home", b"/tmp", b"/work", b"/root", b"127.0.0.1", b"localhost", b".gguf"):
            assert told not in sample.content, sample.name


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_a_meter_says_what_is_true_of_the_sample(sample: Sample) -> None:
    told = seen(sample.meter(), sample.content)

    assert sample.counts == (told.usage.prompt_tokens, told.usage.completion_tokens)
    assert (sample.exact, sample.complete, sample.failed) == (told.usage.exact, told.complete, told.failed)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_a_stream_passes_piece_by_piece_as_it_came_and_what_is_one_piece_is_held_until_it_is_whole(
    sample: Sample,
) -> None:
    meter = sample.meter()
    fed = shown = b""
    for piece in cut(sample.content, *range(0, len(sample.content), 7)):
        fed, shown = fed + piece, shown + meter.feed(piece)

        assert fed.startswith(shown)
        if sample.streamed:
            behind = fed[len(shown) :]  # Nothing but how a line of Ollama's begins that may tell of an error.
            assert BEGINNING.startswith(behind) or behind.startswith(BEGINNING)
        else:
            assert b"" == shown

    assert sample.shown == shown + meter.end()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
@pytest.mark.parametrize("hides_usage", [True, False])
def test_a_meter_says_whether_the_length_that_was_declared_still_holds(sample: Sample, hides_usage: bool) -> None:
    meter = sample.meter(hides_usage=hides_usage)

    assert meter.rewrites is (hides_usage and sample in CHUNKS)
    assert meter.rewrites or sample.shown == seen(meter, sample.content).shown


KINDS = {"v1-transcription.json": "application/json", "v1-transcription.txt": "text/plain; charset=utf-8"}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_ollamas_word_for_the_kind_of_an_answer_is_believed_but_for_a_transcript(sample: Sample) -> None:
    assert KINDS.get(sample.name) == sample.meter().content_type


@given(data=some.data())
def test_a_stream_cut_anywhere_says_the_same(data: some.DataObject) -> None:
    sample, hides_usage, crlf = data.draw(some.sampled_from(VARIANTS))
    content = with_crlf(sample.content) if crlf else sample.content
    places = data.draw(some.sets(some.integers(0, len(content)), max_size=40))
    pieces = cut(content, *places)
    pieces.insert(data.draw(some.integers(0, len(pieces))), b"")

    assert seen(sample.meter(hides_usage=hides_usage), content) == seen(sample.meter(hides_usage=hides_usage), *pieces)


@pytest.mark.parametrize(("sample", "hides_usage", "crlf"), VARIANTS)
def test_a_stream_that_comes_byte_by_byte_says_the_same(sample: Sample, hides_usage: bool, crlf: bool) -> None:
    content = with_crlf(sample.content) if crlf else sample.content
    whole = seen(sample.meter(hides_usage=hides_usage), content)

    assert whole == seen(sample.meter(hides_usage=hides_usage), *cut(content, *range(len(content))))


@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if sample.streamed], ids=lambda sample: sample.name)
def test_the_kind_of_line_end_changes_no_count(sample: Sample) -> None:
    lf, crlf = seen(sample.meter(), sample.content), seen(sample.meter(), with_crlf(sample.content))

    assert (lf.usage, lf.complete, lf.failed) == (crlf.usage, crlf.complete, crlf.failed)


@given(data=some.data())
def test_a_stream_that_stops_anywhere_is_never_dearer_than_whole_and_never_complete_too_soon(
    data: some.DataObject,
) -> None:
    sample = data.draw(some.sampled_from([sample for sample in SAMPLES if sample.complete and sample.streamed]))
    last_words = sample.content.rstrip()
    told = seen(sample.meter(), last_words[: data.draw(some.integers(0, len(last_words) - 1))])

    assert not told.complete
    assert told.usage.completion_tokens <= sample.counts[1]


@given(some.sampled_from(SAMPLES), some.lists(some.binary(max_size=60), max_size=6))
def test_no_rubbish_in_an_answer_makes_a_meter_fail(sample: Sample, rubbish: list[bytes]) -> None:
    told = seen(sample.meter(), *rubbish)

    assert told.shown == (b"".join(rubbish) if sample.streamed or told.complete else b"")


HOSTILE = [
    b'{"message":{"content":"\xff\xfe"}}',
    b'{"message":{"content":"\xed\xa0\x80"}}',
    b'{"message":{"content":"\\ud800"}}',
    b"[" * 100_000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
    b'{"eval_count":' + b"9" * 5000 + b"}",
    b'{"eval_count":1e999}',
    b"null",
    b"[]",
    b'"usage"',
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:20]))
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_what_cannot_be_read_passes_and_the_rest_is_read_on(sample: Sample, text: bytes) -> None:
    if not sample.streamed:
        alone = seen(sample.meter(), text)
        assert alone.shown == (text if alone.complete else b"")
        return
    frame = b"%b\n" if sample.name.endswith(".ndjson") else b"data: %b\n\n"
    content = frame % text + sample.content

    told = seen(sample.meter(hides_usage=sample in CHUNKS), content)

    assert told.shown.startswith(frame % text)
    assert (sample.counts, sample.complete) == (
        (told.usage.prompt_tokens, told.usage.completion_tokens),
        told.complete,
    )


JSON = some.recursive(
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=2) | some.dictionaries(some.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
COUNTS = re.compile(
    rb'("(?:prompt_eval_count|eval_count|(?:total|load|prompt_eval|eval)_duration|usage'
    rb'|(?:prompt|completion|input|output|total)_tokens)": ?)(?:[0-9]+|\{[^{}]*\})'
)
COUNTED = [sample for sample in SAMPLES if COUNTS.search(sample.content)]


@given(some.data())
def test_whatever_stands_in_the_place_of_counts_a_meter_stays_within_bounds(data: some.DataObject) -> None:
    sample = data.draw(some.sampled_from(COUNTED))

    def lied(match: re.Match[bytes]) -> bytes:
        return match[1] + json.dumps(data.draw(JSON)).encode()

    pieces = seen(sample.meter(), COUNTS.sub(rb"\1null", sample.content)).usage
    usage = seen(sample.meter(hides_usage=sample in CHUNKS), COUNTS.sub(lied, sample.content)).usage

    assert 0 <= usage.prompt_tokens <= MOST_TOKENS
    assert pieces.completion_tokens <= usage.completion_tokens <= MOST_TOKENS
    assert not (usage.suspicious and usage.exact)
    assert usage.phases_seconds is None or 0 <= usage.phases_seconds


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_nothing_that_ollama_says_is_suspicious(sample: Sample) -> None:
    assert not seen(sample.meter(), sample.content).usage.suspicious


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_before_anything_has_come_a_meter_knows_only_the_floor(sample: Sample) -> None:
    meter = sample.meter()

    assert (False, False) == (meter.complete, meter.failed)
    assert not meter.usage.exact


def meter_of(method: str, path: str) -> Meter:
    endpoint, _ = endpoints.find(method, path)
    ask = Ask(endpoint, prompt_floor=9)
    return DIALECTS[endpoint.tongue].meter(ask, streamed=False, visible=lambda name: name.startswith("mine"))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/api/version"),
        ("GET", "/v1/models/mine"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("HEAD", f"/api/blobs/sha256:{'0' * 64}"),
        ("GET", "/api/status"),
        ("POST", "/api/me"),
        ("POST", "/api/experimental/web_search"),
    ],
)
def test_what_costs_nothing_and_is_nobodys_secret_passes_as_it_comes(method: str, path: str) -> None:
    meter = meter_of(method, path)

    assert not meter.rewrites
    assert b"what" == meter.feed(b"what")
    assert (b"ever", Usage()) == (seen(meter, b"ever").shown, meter.usage)
    assert meter.complete


@pytest.mark.parametrize(
    ("method", "path", "answer", "shown"),
    [
        (
            "GET",
            "/api/tags",
            b'{"models":[{"name":"mine:1b","model":"mine:1b","size":7},{"name":"other","model":"other"}]}',
            b'{"models":[{"name":"mine:1b","model":"mine:1b","size":7}]}',
        ),
        ("GET", "/api/ps", b'{"models":[{"name":"mine","model":"other"}]}', b'{"models":[]}'),
        ("GET", "/api/tags", b'{"models":null}', b'{"models":[]}'),
        (
            "GET",
            "/v1/models",
            b'{"object":"list","data":[{"id":"other","created":1},{"id":"mine","created":2}]}',
            b'{"object":"list","data":[{"id":"mine","created":2}]}',
        ),
        (
            "POST",
            "/api/show",
            b'{"modelfile":"# x\\nFROM /root/x\\n","n":1.5}',
            b'{"modelfile":"# x\\nFROM (a file on the server)\\n","n":1.5}',
        ),
        ("HEAD", "/api/tags", b"", b""),
    ],
)
def test_lists_and_descriptions_cost_nothing_and_are_shown_once_they_have_been_looked_at(
    method: str, path: str, answer: bytes, shown: bytes
) -> None:
    for size in (1, 1000):
        meter = meter_of(method, path)

        assert (True, False) == (meter.rewrites, meter.complete)
        assert {b""} >= {meter.feed(piece) for piece in cut(answer, *range(0, len(answer), size))}
        assert shown == meter.end()
        assert (True, Usage()) == (meter.complete, meter.usage)


@pytest.mark.parametrize("path", ["/api/tags", "/api/ps", "/v1/models"])
@pytest.mark.parametrize("answer", [b'{"models":[{"name":"mi', b"<html>", b"[]", b'{"models":[]} x', b"null"])
def test_a_list_that_cannot_be_looked_at_is_not_shown(path: str, answer: bytes) -> None:
    told = seen(meter_of("GET", path), answer)

    assert (b"", False) == (told.shown, told.complete)


@pytest.mark.parametrize("path", ["/api/pull", "/api/push", "/api/create"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_transfers_lines_are_asked_for_in_any_case_and_shown_to_who_wants_them(path: str, stream: bool) -> None:
    endpoint, _ = endpoints.find("POST", path)
    body = b'{"model":"m","stream":%b}' % str(stream).lower().encode()
    dialect = DIALECTS[endpoint.tongue]
    ask = dialect.read(endpoint, Said(body))
    lines = b'{"status":"pulling manifest"}\n{"status":"success"}\n'

    assert (stream, b'{"model":"m","stream":true}') == (ask.stream, ask.body)
    told = seen(dialect.meter(ask, streamed=True, visible=lambda _: True), lines)
    assert told.shown == (lines if stream else b'{"status":"success"}')
