"""What a good upstream says, in every dialect: small answers with known counts."""

import json
from collections.abc import Sequence

from proxy.vocabulary import Endpoint, Tongue
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
STREAMS: dict[Tongue, tuple[str, str, tuple[bytes, ...]]] = {
    Tongue.OLLAMA: ("/api/chat", NDJSON, NATIVE_LINES),
    Tongue.OPENAI: ("/v1/chat/completions", SSE, OPENAI_EVENTS),
    Tongue.ANTHROPIC: ("/v1/messages", SSE, ANTHROPIC_EVENTS),
}
"""The path to ask, what comes and in which pieces."""

WHOLE: dict[Tongue, bytes] = {
    Tongue.OLLAMA: json.dumps({"model": MODEL, "done": True, "prompt_eval_count": 26, "eval_count": 3}).encode(),
    Tongue.OPENAI: json.dumps({"choices": [], "usage": {"prompt_tokens": 26, "completion_tokens": 3}}).encode(),
    Tongue.ANTHROPIC: json.dumps({"content": [], "usage": {"input_tokens": 26, "output_tokens": 3}}).encode(),
}
"""An answer of one object."""


def streamed(content_type: str, pieces: Sequence[bytes]) -> tuple[Step, ...]:
    """Each piece in a chunk of its own."""
    return (streaming(content_type), *map(chunk, pieces), LAST_CHUNK)


def answer_of(endpoint: Endpoint, *, stream: bool) -> tuple[Step, ...]:
    if endpoint.method == "HEAD":
        return (head("Content-Type: text/plain; charset=utf-8", "Content-Length: 17"),)
    if stream:
        _, content_type, pieces = STREAMS[endpoint.tongue]
        return streamed(content_type, pieces)
    return (whole(WHOLE[endpoint.tongue]),)


def question(**members: object) -> dict[str, object]:
    return {"model": MODEL, "messages": MESSAGES, **members}
