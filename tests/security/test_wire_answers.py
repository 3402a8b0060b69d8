"""The wire tests about what comes back; the docstrings number them."""

import asyncio
import json
import tracemalloc
from collections.abc import Sequence

import pytest

from proxy.vocabulary import BOUNDARY, Outcome, Part, Tongue, Usage, form_of
from tests.conftest import Gate
from tests.fakes.answers import (
    ANTHROPIC_EVENTS,
    MODEL,
    NATIVE_LINES,
    NDJSON,
    OPENAI_EVENTS,
    RESPONSES_EVENTS,
    SOUND,
    SSE,
    STREAMS,
    WHOLE,
    event,
    line,
    question,
    streamed,
)
from tests.fakes.upstream import LAST_CHUNK, RecordingUpstream, Step, chunk, streaming, whole
from tests.fakes.wire import all_sent, as_sent

ASKED = b'{"model":"llama3.2:1b","messages":[{"role":"user","content":"why?"}]'


async def test_a_native_answer_streams_unasked_and_line_by_line(gate: Gate, upstream: RecordingUpstream) -> None:
    """wire-12"""
    go_on = [asyncio.Event() for _ in NATIVE_LINES]
    steps: list[Step] = [step for one, event in zip(NATIVE_LINES, go_on, strict=True) for step in (chunk(one), event)]
    upstream.says(streaming(NDJSON), *steps, LAST_CHUNK)
    client = await gate.connect()
    await client.send(gate.post("/api/chat", ASKED + b"}"))
    for one, event_ in zip(NATIVE_LINES, go_on, strict=True):
        await client.until(one)
        event_.set()
    told = await client.told()
    entry = await gate.entry()

    assert (b"".join(NATIVE_LINES), True, NDJSON) == (told.body, told.clean, told.fields["content-type"])
    assert (Usage(26, 3), True) == (entry.usage, entry.stream)
    assert [as_sent(upstream, "POST /api/chat", ASKED + b',"options":{"num_predict":16384}}')] == all_sent(upstream)


async def test_openais_answer_is_one_object_unless_asked(gate: Gate, upstream: RecordingUpstream) -> None:
    """wire-13"""
    upstream.says(whole(WHOLE[Tongue.OPENAI]))
    told = await gate.ask(gate.post("/v1/chat/completions", ASKED + b"}"))
    entry = await gate.entry()

    assert (WHOLE[Tongue.OPENAI], "application/json") == (told.body, told.fields["content-type"])
    assert (Usage(26, 3), False) == (entry.usage, entry.stream)
    assert [as_sent(upstream, "POST /v1/chat/completions", ASKED + b',"max_tokens":16384}')] == all_sent(upstream)


WITHOUT_COUNTS = OPENAI_EVENTS[:3] + OPENAI_EVENTS[4:]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"", WITHOUT_COUNTS),
        (b',"stream_options":null', WITHOUT_COUNTS),
        (b',"stream_options":{}', WITHOUT_COUNTS),
        (b',"stream_options":{"include_usage":false}', WITHOUT_COUNTS),
        (b',"stream_options":{"include_usage":true}', OPENAI_EVENTS),
    ],
)
async def test_the_counts_are_always_asked_for_and_shown_to_who_asked(
    gate: Gate, upstream: RecordingUpstream, said: bytes, shown: Sequence[bytes]
) -> None:
    """wire-14"""
    upstream.says(*streamed(SSE, OPENAI_EVENTS))
    told = await gate.ask(gate.post("/v1/chat/completions", ASKED + b',"stream":true' + said + b"}"))
    sent = ASKED + b',"stream":true,"stream_options":{"include_usage":true},"max_tokens":16384}'

    assert (b"".join(shown), True) == (told.body, told.clean)
    assert told.body.endswith(b"data: [DONE]\n\n")
    assert [as_sent(upstream, "POST /v1/chat/completions", sent)] == all_sent(upstream)
    assert Usage(26, 3) == (await gate.entry()).usage


async def test_zeros_are_no_counts(gate: Gate, upstream: RecordingUpstream) -> None:
    """wire-15"""
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    counts = {"prompt_tokens": 26, "completion_tokens": 3, "total_tokens": 29}
    texts = [event({"choices": [{"index": 0, "text": text}], "usage": zeros}) for text in ("Be", "cause", "")]
    upstream.says(*streamed(SSE, [*texts, event({"choices": [], "usage": counts}), event("[DONE]")]))
    told = await gate.ask(gate.post("/v1/completions", {"model": MODEL, "prompt": "why?", "stream": True}))

    assert Usage(26, 3) == (await gate.entry()).usage
    assert b"usage" not in told.body
    assert 4 == told.body.count(b"data: ")


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("tongue", [Tongue.OPENAI, Tongue.RESPONSES, Tongue.ANTHROPIC])
async def test_events_may_come_together_or_in_pieces(
    gate: Gate, upstream: RecordingUpstream, tongue: Tongue, size: int, ends: bytes
) -> None:
    """wire-16"""
    path, _, pieces = STREAMS[tongue]
    said = b": caf\xc3\xa9 \xe2\x98\x83\n\n" + b"".join(pieces)
    said = said.replace(b"\n", ends)
    upstream.says(*streamed(SSE, [said[at : at + size] for at in range(0, len(said), size)]))
    counted = {"stream_options": {"include_usage": True}} if tongue is Tongue.OPENAI else {}
    told = await gate.ask(gate.post(path, question(stream=True, **counted)))

    assert (said, True) == (told.body, told.clean)
    assert Usage(26, 3) == (await gate.entry()).usage


async def test_claudes_estimate_is_not_the_count_and_events_pass_at_once(
    gate: Gate, upstream: RecordingUpstream
) -> None:
    """wire-17"""
    read = asyncio.Event()
    upstream.says(streaming(SSE), chunk(ANTHROPIC_EVENTS[0]), read, *map(chunk, ANTHROPIC_EVENTS[1:]), LAST_CHUNK)
    client = await gate.connect()
    await client.send(gate.post("/v1/messages", ASKED + b',"max_tokens":64,"stream":true}'))
    await client.until(ANTHROPIC_EVENTS[0])
    read.set()
    told = await client.told()

    assert b'"input_tokens": 999' in told.body
    assert Usage(26, 3) == (await gate.entry()).usage
    assert [as_sent(upstream, "POST /v1/messages", ASKED + b',"max_tokens":64,"stream":true}')] == all_sent(upstream)


async def test_a_response_is_counted_by_its_last_event_however_long(gate: Gate, upstream: RecordingUpstream) -> None:
    """wire-18"""
    usage = {"input_tokens": 26, "output_tokens": 3}
    last = event(
        {"type": "response.completed", "response": {"instructions": "x" * 2**20, "usage": usage}}, "response.completed"
    )
    upstream.says(*streamed(SSE, [*RESPONSES_EVENTS[:3], last]))
    told = await gate.ask(gate.post("/v1/responses", {"model": MODEL, "input": "why?", "stream": True}))
    entry = await gate.entry()

    assert (b"".join(RESPONSES_EVENTS[:3]) + last, True) == (told.body, told.clean)
    assert (Outcome.SERVED, None, Usage(26, 3)) == (entry.outcome, entry.reason, entry.usage)


async def test_a_giant_last_line_passes_and_is_counted(gate: Gate, upstream: RecordingUpstream) -> None:
    """wire-19"""
    last = line(done=True, context=[12345] * 250_000, prompt_eval_count=26, eval_count=3)
    upstream.says(*streamed(NDJSON, [NATIVE_LINES[0], last]))
    tracemalloc.start()
    try:
        told = await gate.ask(gate.post("/api/generate", {"model": MODEL, "prompt": "why?"}))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (True, True) == (len(last) > 1_500_000, told.body == NATIVE_LINES[0] + last)
    assert Usage(26, 3) == (await gate.entry()).usage
    assert peak < 40 * 2**20


LOST = event({"model": "", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
BROKEN: dict[str, tuple[str, str, tuple[bytes, ...], bytes]] = {
    "native": ("/api/chat", NDJSON, (NATIVE_LINES[0], line(error="the model crashed")), b""),
    "native, silently": ("/api/chat", NDJSON, NATIVE_LINES[:2], b'{"error":"'),
    "chat": ("/v1/chat/completions", SSE, (OPENAI_EVENTS[0], LOST), b'data: {"error":{"message":'),
    "responses": ("/v1/responses", SSE, RESPONSES_EVENTS[:2], b"event: response.failed\ndata: {"),
    "messages": ("/v1/messages", SSE, ANTHROPIC_EVENTS[:3], b"event: error\ndata: {"),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_stream_that_fails_does_not_end_as_if_it_had_not(
    gate: Gate, upstream: RecordingUpstream, what: str
) -> None:
    """wire-20"""
    path, content_type, pieces, said = BROKEN[what]
    came = b"".join(pieces)
    upstream.says(*streamed(content_type, pieces))
    told = await gate.ask(gate.post(path, question(stream=True, input="why is the sky blue?")))
    entry = await gate.entry()

    assert (200, False) == (told.status, told.clean)
    assert told.body.startswith(came)
    assert told.body[len(came) :].startswith(said)
    assert bool(said) == (told.body != came), "what failed has said so itself"
    assert entry.outcome in (Outcome.TRUNCATED, Outcome.BACKEND_FAILED)
    assert (False, True) == (entry.usage.exact, entry.usage.prompt_tokens > 0)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"text":5}', b'{"error":"x"}', b'{"text":"a'])
async def test_a_transcription_of_nothing_is_a_failure(gate: Gate, upstream: RecordingUpstream, body: bytes) -> None:
    """wire-20"""
    upstream.says(whole(body, "application/x-ndjson"))
    form = form_of((Part("model", MODEL.encode()), SOUND))
    content_type = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    told = await gate.ask(gate.post("/v1/audio/transcriptions", form, content_type))
    entry = await gate.entry()

    assert (502, True, "application/json") == (told.status, told.clean, told.fields["content-type"])
    assert {"message", "type", "param", "code"} == json.loads(told.body)["error"].keys()
    assert entry.outcome in (Outcome.TRUNCATED, Outcome.BACKEND_FAILED)


NESTED = json.dumps({"error": json.dumps({"error": {"code": 400, "message": "too many images"}})}).encode()
BUSY = b'{"error":"server busy, please try again.  maximum pending requests exceeded"}'
UNAUTHORIZED = b'{"error":"unauthorized","signin_url":"https://ollama.example/connect?CANARY"}'
EARLY: list[tuple[str, bytes, int, str | None]] = [
    ("404", whole(b'{"error":"model \'x\' not found"}', status="404 Not Found"), 404, "model 'x' not found"),
    ("503", whole(BUSY, status="503 Service Unavailable"), 503, "is busy"),
    ("nested 400", whole(NESTED, status="400 Bad Request"), 400, "too many images"),
    ("403", whole(b"", "", status="403 Forbidden"), 502, None),
    ("405", whole(b"405 method not allowed", "text/plain", status="405 Method Not Allowed"), 502, None),
    ("301", whole(b"", "text/html", "Location: /CANARY", status="301 Moved Permanently"), 502, None),
    ("500", whole(b"", "", status="500 Internal Server Error"), 500, None),
    ("500 with a path", whole(b'{"error":"open /CANARY/blobs/x: no"}', status="500 No"), 500, None),
    ("401", whole(UNAUTHORIZED, status="401 Unauthorized"), 502, None),
]


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize(("answer", "status", "words"), [row[1:] for row in EARLY], ids=[row[0] for row in EARLY])
async def test_an_early_error_is_the_callers_own(
    gate: Gate, upstream: RecordingUpstream, path: str, answer: bytes, status: int, words: str | None
) -> None:
    """wire-21"""
    upstream.says(answer)
    told = await gate.ask(gate.post(path, question(stream=True)))
    error = json.loads(told.body)["error"]

    assert (status, True, "application/json") == (told.status, told.clean, told.fields["content-type"])
    assert (words or "") in (error if path.startswith("/api") else error["message"])
    assert ("5" if status == 503 else None) == told.fields.get("retry-after")
    assert b"CANARY" not in told.head + told.body
    assert b"signin_url" not in told.body
    refused = Outcome.REFUSED if status < 500 else Outcome.BACKEND_FAILED
    assert (refused, status) == ((entry := await gate.entry()).outcome, entry.status)
