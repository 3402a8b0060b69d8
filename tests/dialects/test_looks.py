import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects import Meter, looks
from proxy.dialects.anthropic import EventsMeter
from proxy.dialects.counts import Bounds
from proxy.dialects.ollama import LinesMeter
from proxy.dialects.openai import ChunksMeter
from proxy.dialects.responses import ResponseMeter
from proxy.vocabulary import Usage

WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ['"content":"x"', '"error"', '"usage":{}', "\n\n", 'data: {"error":1}', '","done":true,"a":"', "\\", ""]
    ),
)


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def chunk(word: str, **more: Any) -> bytes:
    told = {"id": "1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": word}}], **more}
    return b"data: " + compact(told) + b"\n\n"


def line(word: str, **more: Any) -> bytes:
    return compact({"model": "m", "message": {"role": "assistant", "content": word}, "done": False, **more}) + b"\n"


def generated(word: str, **more: Any) -> bytes:
    return compact({"model": "m", "response": word, "done": False, **more}) + b"\n"


def delta(word: str, **more: Any) -> bytes:
    told = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}, **more}
    return b"event: content_block_delta\ndata: " + compact(told) + b"\n\n"


def piece(word: str, **more: Any) -> bytes:
    told = {"content_index": 0, "delta": word, "type": "response.output_text.delta", **more}
    return b"event: response.output_text.delta\ndata: " + compact(told) + b"\n\n"


METERS: dict[Any, Callable[[], Meter]] = {
    chunk: lambda: ChunksMeter(Bounds(), hides_usage=False),
    line: lambda: LinesMeter(Bounds()),
    generated: lambda: LinesMeter(Bounds()),
    delta: lambda: EventsMeter(Bounds()),
    piece: lambda: ResponseMeter(Bounds()),
}
MORE: list[dict[str, Any]] = [
    {},
    {},
    {},
    {"usage": {"prompt_tokens": 3, "completion_tokens": 4}},
    {"error": {"message": "x"}},
    {"error": None},
    {"done": True, "eval_count": 4, "prompt_eval_count": 3},
]


def seen(meter: Meter) -> tuple[Usage, bool, bool, bool]:
    return meter.usage, meter.complete, meter.failed, meter.counted


@pytest.mark.parametrize("say", METERS)
@given(st.data())
def test_what_is_told_by_a_look_is_what_reading_tells(say: Any, data: st.DataObject) -> None:
    """A meter that gets whole pieces may look; one that gets them byte by byte has to read."""
    told = [say(data.draw(WORDS), **data.draw(st.sampled_from(MORE))) for _ in range(data.draw(st.integers(1, 6)))]
    looking, reading = METERS[say](), METERS[say]()
    shown = b"".join(looking.feed(one) for one in told)
    read = b"".join(reading.feed(bytes((byte,))) for one in told for byte in one)

    assert (seen(reading), read) == (seen(looking), shown)


@pytest.mark.parametrize(
    ("look", "is_sure"),
    [
        (b'data: {"a":1}\n\n', True),
        (b'data: {"a":1}\n\ndata: {"a":2}\n\n', False),
        (b'data: {"a":1}\n', False),
        (b'data: {"a":\ndata: 1}\n\n', False),
        (b'event: x\ndata: {"a":1}\n\n', False),
        (b'data: {"a":1}\r\n\r\n', False),
        (b": {}\n\n", False),
        (b"", False),
    ],
)
def test_only_one_whole_event_is_looked_at(look: bytes, is_sure: bool) -> None:
    assert is_sure == looks.is_one_event(look, b"data: {")


@pytest.mark.parametrize(
    ("look", "is_sure"),
    [(b'{"a":1}\n', True), (b'{"a":1}', False), (b'{"a":1}\n{"a":2}\n', False), (b"\n", False), (b"", False)],
)
def test_only_one_whole_line_is_looked_at(look: bytes, is_sure: bool) -> None:
    assert is_sure == looks.is_one_line(look)


@pytest.mark.parametrize("say", METERS)
def test_a_word_is_told_by_a_look(say: Any) -> None:
    begins = {chunk: b"data: {", delta: b"event: content_block_delta", piece: b"event: response.output_text.delta"}
    text = say(" word")

    if say in begins:
        assert looks.is_one_event(text, begins[say] if say is chunk else begins[say] + b"\ndata: {")
    else:
        assert looks.is_one_line(text)
        assert looks.says_more(text)
    assert looks.says_content(chunk(" word"))
    assert not looks.says_content(chunk(""))
