"""One suite for every meter, over every sample."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from proxy.dialects.table import DIALECTS
from proxy.policy import endpoints
from proxy.vocabulary import Ask
from tests.dialects.recorded import CHUNKS, FOLDER, SAMPLES, Sample, cut, seen


def with_crlf(content: bytes) -> bytes:
    return content.replace(b"\n", b"\r\n")


VARIANTS = [(sample, False, False) for sample in SAMPLES]
VARIANTS += [(sample, False, True) for sample in SAMPLES if sample.streamed]
VARIANTS += [(sample, True, crlf) for sample in CHUNKS for crlf in (False, True)]
"""Each sample, whether its usage is hidden, and whether its lines end with CRLF."""


def test_every_sample_has_its_expectation_and_tells_nothing_of_where_it_was_made() -> None:
    files = {path.name for path in FOLDER.iterdir()} - {"README.md"}

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
def test_what_is_not_hidden_passes_piece_by_piece_as_it_came(sample: Sample) -> None:
    meter = sample.meter()
    for piece in cut(sample.content, *range(0, len(sample.content), 7)):
        assert piece == meter.feed(piece)

    assert b"" == meter.end()


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
    shown = seen(sample.meter(), *rubbish).shown

    assert b"".join(rubbish) == shown


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
        assert text == seen(sample.meter(), text).shown
        return
    frame = b"%b\n" if sample.name.endswith(".ndjson") else b"data: %b\n\n"
    content = frame % text + sample.content

    told = seen(sample.meter(hides_usage=sample in CHUNKS), content)

    assert told.shown.startswith(frame % text)
    assert (sample.counts, sample.complete) == (
        (told.usage.prompt_tokens, told.usage.completion_tokens),
        told.complete,
    )


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_before_anything_has_come_a_meter_knows_only_the_floor(sample: Sample) -> None:
    meter = sample.meter()

    assert (False, False) == (meter.complete, meter.failed)
    assert not meter.usage.exact


def test_lists_and_metadata_cost_nothing_and_are_whole_as_they_are() -> None:
    for method, path in (("GET", "/api/tags"), ("POST", "/api/show"), ("GET", "/v1/models")):
        endpoint, _ = endpoints.find(method, path)
        told = seen(DIALECTS[endpoint.tongue].meter(Ask(endpoint, prompt_floor=9), streamed=False), b"what", b"ever")

        assert (b"whatever", 0, 0) == (told.shown, told.usage.prompt_tokens, told.usage.completion_tokens)
        assert told.complete
        assert told.usage.exact
