import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects import Meter, Said, multipart
from proxy.dialects.transcription import FILES, KNOWN, TranscriptionDialect, sound_floor
from proxy.dialects.whole import LONGEST_ANSWER
from proxy.errors import NotUnderstood
from proxy.vocabulary import BOUNDARY, Ask, Endpoint, ModelIn, Part, Risk, Takes, Tongue, Usage, UsageIn, form_of

SAMPLES = Path(__file__).parents[1] / "samples"
ENDPOINT = Endpoint(
    "POST",
    "/v1/audio/transcriptions",
    Tongue.TRANSCRIPTION,
    Risk.INFERENCE,
    Takes.FORM,
    ModelIn.FORM,
    UsageIn.UNTOLD,
)
DIALECT = TranscriptionDialect()
KIND = f"multipart/form-data; boundary={BOUNDARY}"
MODEL = Part("model", b"gemma4")
SOUND = Part("file", b"ID3" * 100, "in.mp3", "audio/mpeg")
SENTENCE = "Grüß dich, Welt."
ANSWER = (SAMPLES / "v1-transcription.json").read_bytes()
COST = Usage(5, len(SENTENCE.encode()) // 5, exact=False)


def read(*parts: Part) -> Ask:
    return DIALECT.read(ENDPOINT, Said(form_of(parts), KIND))


def meter(response_format: bytes | None = None, *, streamed: bool = True) -> Meter:
    parts = () if response_format is None else (Part("response_format", response_format),)
    return DIALECT.meter(Ask(ENDPOINT, parts=parts, prompt_floor=5), streamed=streamed, visible=lambda _: True)


def shown(watch: Meter, *chunks: bytes) -> bytes:
    return b"".join([*map(watch.feed, chunks), watch.end()])


def test_the_form_names_the_model_and_the_rest_is_kept_in_order() -> None:
    prompt, language = Part("prompt", b"About rain."), Part("language", b"de")
    ask = read(prompt, MODEL, Part("file", b"RIFF", "My Holiday.WAV", "audio/wav"), language)

    assert ("gemma4", False) == (ask.model, ask.stream)
    assert (prompt, Part("file", b"RIFF", "audio.wav", "audio/wav"), language) == ask.parts


def test_what_is_sent_is_the_permitted_model_and_then_what_was_read() -> None:
    ask = read(Part("language", b"de"), MODEL, SOUND)
    sent = Ask(ENDPOINT, spelling="gemma4:e4b", parts=ask.parts).body

    assert sent is not None
    assert (
        Part("model", b"gemma4:e4b"),
        Part("language", b"de"),
        Part("file", SOUND.data, "audio.mp3", "audio/mpeg"),
    ) == multipart.parse(sent, KIND, known=KNOWN, files=FILES)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("a.wav", "audio.wav"),
        ("A.B.MP3", "audio.mp3"),
        ("../../etc/passwd.m4a", "audio.m4a"),
        ("speech", "audio"),
        ("mp3", "audio"),
        (".wav", "audio.wav"),
        ("a.", "audio"),
        ("a.wav ", "audio"),
        ("a.toolong", "audio"),
        ("a.wä", "audio"),
        ("a.w/v", "audio"),
    ],
)
def test_only_the_kind_of_a_filename_is_kept(theirs: str, ours: str) -> None:
    assert ours == read(MODEL, Part("file", b"x", theirs)).parts[0].filename


def test_a_form_without_a_model_names_none() -> None:
    assert "" == read(SOUND).model


@pytest.mark.parametrize(
    "parts",
    [
        (MODEL,),
        (MODEL, Part("file", b"x")),
        (MODEL, SOUND, MODEL),
        (MODEL, SOUND, SOUND),
        (Part("model", b"gemma4", "m"), SOUND),
        (Part("Model", b"gemma4"), SOUND),
        (Part("model", b"\xff"), SOUND),
    ],
)
def test_a_form_that_could_be_read_otherwise_is_not_understood(parts: tuple[Part, ...]) -> None:
    with pytest.raises(NotUnderstood):
        read(*parts)


@pytest.mark.parametrize("content_type", ["application/json", "multipart/mixed; boundary=" + BOUNDARY, ""])
def test_what_is_no_form_is_not_understood(content_type: str) -> None:
    with pytest.raises(NotUnderstood):
        DIALECT.read(ENDPOINT, Said(form_of([MODEL, SOUND]), content_type))


def test_the_floor_of_the_prompt_is_by_the_sound_and_the_text() -> None:
    minute_of_mp3 = Part("file", bytes(60 * 40_000), "a.mp3")

    ask = read(MODEL, minute_of_mp3, Part("prompt", b"ten bytes."))

    assert (360 + 2, 10) == (ask.prompt_floor, ask.prompt_bytes)


def test_every_text_that_ollama_writes_into_the_prompt_is_paid_for() -> None:
    ask = read(MODEL, SOUND, Part("language", b"de " * 1000), Part("prompt", b"ten bytes."))

    assert (3010 // 5, 3010) == (ask.prompt_floor, ask.prompt_bytes)


@pytest.mark.parametrize("response_format", [None, b"text"])
def test_a_text_costs_by_its_characters_whatever_script_it_is_in(response_format: bytes | None) -> None:
    text = "नमस्ते " * 10
    watch = meter(response_format)
    shown(watch, text.encode() if response_format else json.dumps({"text": text}).encode())

    assert Usage(5, len(text) // 5, exact=False) == watch.usage
    assert len(text) // 5 == read(MODEL, SOUND, Part("prompt", text.encode())).prompt_floor


@pytest.mark.parametrize(
    ("sound", "floor"),
    [(b"", 0), (b"ID3" + bytes(399_997), 60), (b"RIFF" + bytes(1_919_996), 60), (b"fLaC" + bytes(1_919_996), 60)],
)
def test_ten_seconds_of_the_fattest_sound_are_sixty_tokens(sound: bytes, floor: int) -> None:
    assert floor == sound_floor(sound)


@pytest.mark.parametrize("response_format", [None, b"json", b"verbose_json", b"srt", b"TEXT"])
@pytest.mark.parametrize("streamed", [True, False])
def test_an_object_is_delivered_as_json_whatever_it_was_declared(response_format: bytes | None, streamed: bool) -> None:
    watch = meter(response_format, streamed=streamed)

    assert ANSWER == shown(watch, ANSWER)
    assert "application/json" == watch.content_type
    assert (COST, True, False, False) == (watch.usage, watch.complete, watch.failed, watch.rewrites)


def test_a_plain_text_is_delivered_as_text() -> None:
    watch = meter(b"text")

    assert SENTENCE.encode() == shown(watch, (SAMPLES / "v1-transcription.txt").read_bytes())
    assert "text/plain; charset=utf-8" == watch.content_type
    assert (COST, True, False) == (watch.usage, watch.complete, watch.failed)


@given(st.lists(st.integers(0, len(ANSWER))), st.booleans())
def test_an_answer_is_read_alike_however_it_is_cut(cuts: list[int], plain: bool) -> None:
    content = SENTENCE.encode() if plain else ANSWER
    ends = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    watch = meter(b"text" if plain else None)

    assert content == shown(watch, *(content[begin:end] for begin, end in pairwise(ends)))
    assert (COST, True, False) == (watch.usage, watch.complete, watch.failed)


def test_a_silence_written_down_is_whole() -> None:
    watch = meter()

    assert b'{"text":""}' == shown(watch, b'{"text":""}')
    assert (Usage(5, 0, exact=False), True) == (watch.usage, watch.complete)


@pytest.mark.parametrize("response_format", [None, b"text"])
@pytest.mark.parametrize("content", [b"", b"\n"])
def test_an_empty_answer_is_a_failure_and_nothing_of_it_is_shown(response_format: bytes | None, content: bytes) -> None:
    watch = meter(response_format)

    assert b"" == shown(watch, content)
    assert not watch.complete


@pytest.mark.parametrize("content", [b'{"text":"Gr', b"[]", b"{}", b'{"text":null}', b'{"text":"a"}{"text":"b"}'])
def test_what_is_no_transcript_is_not_shown(content: bytes) -> None:
    watch = meter()

    assert b"" == shown(watch, content)
    assert (False, False) == (watch.complete, watch.failed)


def test_an_error_where_the_transcript_should_be_is_a_failure() -> None:
    watch = meter()

    assert b"" == shown(watch, b'{"error":"the runner has died"}')
    assert (False, True) == (watch.complete, watch.failed)


def test_an_answer_too_long_to_be_held_passes_as_it_comes() -> None:
    watch = meter(b"text")
    chunk = b"x" * (LONGEST_ANSWER // 2)

    assert 3 * len(chunk) + 1 == len(shown(watch, chunk, chunk, b"x", chunk))
    assert watch.complete


def test_what_has_been_heard_counts_before_the_end() -> None:
    watch = meter()
    watch.feed(b'{"text":"Gr')

    assert Usage(5, 2, exact=False) == watch.usage


def test_nothing_is_said_after_half_an_object() -> None:
    assert b"" == DIALECT.last_words("truncated", "It ended too early.", "id1")


def test_a_refusal_has_the_shape_of_the_other_routes() -> None:
    assert "api_error" == json.loads(DIALECT.refusal(502, "truncated", "No.", "id1"))["error"]["type"]
