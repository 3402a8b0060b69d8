"""What a caller asks of every route, and what a good upstream says: small answers with known counts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.vocabulary import BOUNDARY, SEGMENT, Endpoint, Part, Risk, Takes, Tongue, UsageIn, form_of
from tests.fakes.upstream import LAST_CHUNK, Step, chunk, head, streaming, whole

NDJSON, SSE = "application/x-ndjson", "text/event-stream"
MODEL = "llama3.2:1b"
MESSAGES = [{"role": "user", "content": "why is the sky blue?"}]


def line(**members: object) -> bytes:
    return json.dumps(members).encode() + b"\n"


def event(data: object, name: str | None = None) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def spoken(content: str) -> dict[str, object]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": content}}]}


NATIVE_LINES = (
    line(model=MODEL, message={"role": "assistant", "content": "Be"}, done=False),
    line(model=MODEL, message={"role": "assistant", "content": "cause"}, done=False),
    line(model=MODEL, done=True, done_reason="stop", prompt_eval_count=26, eval_count=3),
)
OPENAI_EVENTS = (
    event(spoken("Be")),
    event(spoken("cause")),
    event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    event({"choices": [], "usage": {"prompt_tokens": 26, "completion_tokens": 3, "total_tokens": 29}}),
    event("[DONE]"),
)
ANTHROPIC_EVENTS = (
    event({"type": "message_start", "message": {"usage": {"input_tokens": 999, "output_tokens": 0}}}, "message_start"),
    event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Be"}}, "content_block_delta"),
    event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "cause"}}, "content_block_delta"),
    event({"type": "message_delta", "usage": {"input_tokens": 26, "output_tokens": 3}}, "message_delta"),
    event({"type": "message_stop"}, "message_stop"),
)
RESPONSES_EVENTS = (
    event({"type": "response.created", "sequence_number": 0, "response": {"usage": None}}, "response.created"),
    event({"type": "response.output_text.delta", "sequence_number": 1, "delta": "Be"}, "response.output_text.delta"),
    event({"type": "response.output_text.delta", "sequence_number": 2, "delta": "cause"}, "response.output_text.delta"),
    event(
        {
            "type": "response.completed",
            "sequence_number": 3,
            "response": {"status": "completed", "usage": {"input_tokens": 26, "output_tokens": 3, "total_tokens": 29}},
        },
        "response.completed",
    ),
)
STREAMS: dict[Tongue, tuple[str, str, tuple[bytes, ...]]] = {
    Tongue.OLLAMA: ("/api/chat", NDJSON, NATIVE_LINES),
    Tongue.OPENAI: ("/v1/chat/completions", SSE, OPENAI_EVENTS),
    Tongue.RESPONSES: ("/v1/responses", SSE, RESPONSES_EVENTS),
    Tongue.ANTHROPIC: ("/v1/messages", SSE, ANTHROPIC_EVENTS),
}
"""The path to ask, what comes and in which pieces."""

WHOLE: dict[Tongue, bytes] = {
    Tongue.OLLAMA: json.dumps({"model": MODEL, "done": True, "prompt_eval_count": 26, "eval_count": 3}).encode(),
    Tongue.OPENAI: json.dumps({"choices": [], "usage": {"prompt_tokens": 26, "completion_tokens": 3}}).encode(),
    Tongue.RESPONSES: json.dumps({"output": [], "usage": {"input_tokens": 26, "output_tokens": 3}}).encode(),
    Tongue.TRANSCRIPTION: json.dumps({"text": "Because."}).encode(),
    Tongue.ANTHROPIC: json.dumps({"content": [], "usage": {"input_tokens": 26, "output_tokens": 3}}).encode(),
}
"""An answer of one object."""


def streamed(content_type: str, pieces: Sequence[bytes]) -> tuple[Step, ...]:
    """Each piece in a chunk of its own."""
    return (streaming(content_type), *map(chunk, pieces), LAST_CHUNK)


def question(**members: object) -> dict[str, object]:
    return {"model": MODEL, "messages": MESSAGES, **members}


DIGEST = "sha256:" + "0123456789abcdef" * 4
SEGMENTS = {"/v1/models/{segment}": MODEL, "/api/blobs/{segment}": DIGEST, "/api/user/keys/{segment}": "a2V5"}
SOUND = Part("file", b"RIFF\0\0\0\0WAVE", "speech.wav", "audio/wav")
BESIDES_MODEL: Mapping[str, dict[str, Any]] = {
    "/api/generate": {"prompt": "why?"},
    "/api/chat": {"messages": MESSAGES},
    "/api/embed": {"input": ["why?"]},
    "/api/embeddings": {"prompt": "why?"},
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": "why?"},
    "/v1/embeddings": {"input": "why?"},
    "/v1/responses": {"input": "why?"},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 64},
    "/api/create": {"from": "mistral:latest"},
}
"""What a request says beside its model, by the route's path; nothing where it is not here."""
MODELLESS: Mapping[str, dict[str, Any]] = {
    "/api/copy": {"source": MODEL, "destination": "mistral:latest"},
    "/api/experimental/web_search": {"query": "why?"},
    "/api/experimental/web_fetch": {"url": "http://why.example/"},
}
"""The whole bodies of routes that have no member ``model``."""
CLAMPS: Mapping[str, dict[str, Any]] = {
    "/api/generate": {"options": {"num_predict": 16384}},
    "/api/chat": {"options": {"num_predict": 16384}},
    "/v1/chat/completions": {"max_tokens": 16384},
    "/v1/completions": {"max_tokens": 16384},
    "/v1/responses": {"max_output_tokens": 16384},
}
"""What the default plan adds where a request does not say how long its answer may get."""


@dataclass(frozen=True, slots=True)
class Question:
    """What stands in a request for one route."""

    path: str
    body: bytes = b""
    content_type: str = "application/json"


def question_for(endpoint: Endpoint, *, model: str = MODEL, stream: bool | None = None) -> Question:
    """A small request for a row of the table; ``stream`` is said where it is given and the row can stream."""
    path = endpoint.path.replace(SEGMENT, SEGMENTS.get(endpoint.path, "").replace(MODEL, model))
    match endpoint.takes:
        case Takes.FORM:
            form = form_of((Part("model", model.encode()), SOUND))
            return Question(path, form, f"multipart/form-data; boundary={BOUNDARY}")
        case Takes.BYTES:
            return Question(path, b"GGUF\0\1", "application/octet-stream")
        case Takes.NOTHING:
            return Question(path)
    said = MODELLESS.get(endpoint.path) or {"model": model, **BESIDES_MODEL.get(endpoint.path, {})}
    if stream is not None and endpoint.streams is not None:
        said = {**said, "stream": stream}
    return Question(path, json.dumps(said).encode())


PULLED = (line(status="pulling manifest"), line(status="success"))


def answer_of(endpoint: Endpoint, *, stream: bool) -> tuple[Step, ...]:
    """A good answer; of a transfer always the lines, for the gate asks for nothing else."""
    if endpoint.method == "HEAD":
        return (head("Content-Type: text/plain; charset=utf-8", "Content-Length: 17"),)
    if endpoint.risk is Risk.MANAGE and endpoint.streams is not None:
        return streamed(NDJSON, PULLED)
    if endpoint.usage_in is UsageIn.NOWHERE:
        return (whole(b'{"data":[]}' if endpoint.path == "/v1/models" else b'{"models":[]}'),)
    if stream:
        _, content_type, pieces = STREAMS[endpoint.tongue]
        return streamed(content_type, pieces)
    return (whole(WHOLE[endpoint.tongue]),)
