"""The shapes that Ollama gives to OpenAI's API. Nothing here does I/O."""

import base64
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.demo.native import Json, Model
from proxy.demo.said import Call, Said
from proxy.vocabulary import Usage

DONE = b"data: [DONE]\n\n"

_KINDS = {400: "invalid_request_error", 404: "not_found_error"}


@dataclass(frozen=True, slots=True)
class Form:
    """One answer of /v1/chat/completions or /v1/completions: what all of its chunks have in common."""

    model: str
    created: int
    chat: bool
    counts_every_chunk: bool = False
    """/v1/completions with include_usage puts zeros on every chunk; the true counts come on the last alone."""

    def whole(self, said: Said) -> Json:
        told: Json = {"message": {"role": "assistant", "content": said.text}} if self.chat else {"text": said.text}
        if said.calls:
            told["message"]["tool_calls"] = _calls(said.calls)
        choice = {"index": 0, **told, "finish_reason": _reason(said)}
        return {**self._head("chat.completion"), "choices": [choice], "usage": counts(said.usage)}

    def opening(self) -> list[Json]:
        """What precedes the first word."""
        return [self._chunk({"delta": {"role": "assistant", "content": ""}})] if self.chat else []

    def piece(self, text: str) -> Json:
        return self._chunk({"delta": {"content": text}} if self.chat else {"text": text})

    def closing(self, said: Said) -> list[Json]:
        """What follows the last word, but for the counts. Every call is told in one piece."""
        calls = [self._chunk({"delta": {"content": "", "tool_calls": _calls(said.calls)}})] if said.calls else []
        return [*calls, self._chunk({"delta": {}} if self.chat else {"text": ""}, _reason(said))]

    def bill(self, usage: Usage) -> Json:
        """The chunk with the counts: it has no choices, and it comes only when asked for."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": counts(usage)}

    def _chunk(self, said: Json, reason: str | None = None) -> Json:
        chunk = {**self._head("chat.completion.chunk"), "choices": [{"index": 0, **said, "finish_reason": reason}]}
        if self.counts_every_chunk:
            chunk["usage"] = counts(Usage())
        return chunk

    def _head(self, kind: str) -> Json:
        return {
            "id": "chatcmpl-1" if self.chat else "cmpl-1",  # Ollama's own ids do not tell answers apart either.
            "object": kind if self.chat else "text_completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": "fp_ollama",
        }


def _reason(said: Said) -> str:
    return "tool_calls" if said.calls else said.reason


def _calls(calls: Sequence[Call]) -> list[Json]:
    return [
        {
            "id": call.id,
            "index": index,
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for index, call in enumerate(calls)
    ]


def counts(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def model(one: Model, name: str | None = None) -> Json:
    """One model of a list, or the one that was asked for: that answer repeats the name as it was asked."""
    created = int(one.modified.timestamp())
    return {"id": name or one.name, "object": "model", "created": created, "owned_by": "library"}


def embedded(name: str, vectors: list[list[float]], tokens: int, *, as_base64: bool) -> Json:
    rows = [
        {"object": "embedding", "embedding": _base64(vector) if as_base64 else vector, "index": index}
        for index, vector in enumerate(vectors)
    ]
    return {"object": "list", "data": rows, "model": name, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def error(status: int, message: str) -> Json:
    kind = _KINDS.get(status, "api_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
