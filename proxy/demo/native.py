"""The shapes of Ollama's own API: plain values in, JSON values out. Nothing here does I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from proxy.demo.said import Call, Said
from proxy.errors import NotUnderstood
from proxy.vocabulary import Usage

Json = dict[str, Any]

VERSION = "0.33.0"
"""The release whose surface is imitated."""

NEVER = "2318-01-01T00:00:00Z"
"""The expiry of a model that stays loaded; far off, but a year that clients in Go and JavaScript can hold."""


@dataclass(frozen=True, slots=True)
class Model:
    """An installed model, as the lists tell of it."""

    name: str
    digest: str
    size: int
    family: str
    parameters: int
    quantization: str
    context_length: int
    """What a conversation may hold here, which can be less than the model was trained for."""
    embedding_length: int
    modified: datetime
    capabilities: tuple[str, ...] = ("completion",)

    @property
    def parameter_size(self) -> str:
        """Rounded as people say it: 1.2B, 134.52M."""
        billions = self.parameters / 1e9
        return f"{billions:.1f}B" if billions >= 1 else f"{self.parameters / 1e6:.2f}M"


def moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def inner(body: Json, member: str) -> Json:
    """An object inside a question; empty where it is absent."""
    told = body.get(member) or {}
    if not isinstance(told, dict):
        raise NotUnderstood(f"json: cannot unmarshal the field {member} into an object")
    return told


def installed(model: Model) -> Json:
    """One row of /api/tags."""
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": moment(model.modified),
        "size": model.size,
        "digest": model.digest,
        "details": _details(model),
        "capabilities": list(model.capabilities),
    }


def loaded(model: Model) -> Json:
    """One row of /api/ps."""
    return {
        "name": model.name,
        "model": model.name,
        "size": model.size,
        "digest": model.digest,
        "details": _details(model),
        "expires_at": NEVER,
        "size_vram": 0,
        "context_length": model.context_length,
    }


def shown(model: Model) -> Json:
    """The answer of /api/show."""
    return {
        "modelfile": f"FROM {model.name}\n",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "details": _details(model),
        "model_info": {
            "general.architecture": model.family,
            "general.parameter_count": model.parameters,
            f"{model.family}.context_length": model.context_length,
            f"{model.family}.embedding_length": model.embedding_length,
        },
        "capabilities": list(model.capabilities),
        "modified_at": moment(model.modified),
    }


def piece(name: str, at: datetime, text: str, *, chat: bool) -> Json:
    """One line of a stream before its last."""
    return {"model": name, "created_at": moment(at), **_saying(text, chat), "done": False}


def calling(name: str, at: datetime, calls: Sequence[Call]) -> Json:
    """The line of a stream that has its calls."""
    said = piece(name, at, "", chat=True)
    said["message"]["tool_calls"] = _calls(calls)
    return said


def last(name: str, at: datetime, said: Said, *, chat: bool, streamed: bool = False) -> Json:
    """The whole of an answer, or the line that ends it where all else was streamed before."""
    usage = said.usage
    counts = {
        "total_duration": _nanoseconds(said.seconds),
        "load_duration": _nanoseconds(usage.load_seconds),
        "prompt_eval_count": usage.prompt_tokens,
        "prompt_eval_duration": _nanoseconds(usage.prompt_seconds),
        "eval_count": usage.completion_tokens,
        "eval_duration": _nanoseconds(usage.completion_seconds),
    }
    ending = _ending(name, at, "" if streamed else said.text, said.reason, chat=chat)
    if said.calls and not streamed:
        ending["message"]["tool_calls"] = _calls(said.calls)
    return {**ending, **_without_zeros(counts)}


def only_loaded(name: str, at: datetime, reason: str = "load", *, chat: bool) -> Json:
    """The answer to a request that asks nothing: one object without counts, even where it asked to stream."""
    return _ending(name, at, "", reason, chat=chat)


def embedded(name: str, vectors: list[list[float]], usage: Usage, seconds: float) -> Json:
    """The answer of /api/embed."""
    counts = {
        "total_duration": _nanoseconds(seconds),
        "load_duration": _nanoseconds(usage.load_seconds),
        "prompt_eval_count": usage.prompt_tokens,
    }
    return {"model": name, "embeddings": vectors, **_without_zeros(counts)}


def error(message: str) -> Json:
    return {"error": message}


def _details(model: Model) -> Json:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": model.family,
        "families": [model.family],
        "parameter_size": model.parameter_size,
        "quantization_level": model.quantization,
    }


def _calls(calls: Sequence[Call]) -> list[Json]:
    return [
        {"id": call.id, "function": {"index": index, "name": call.name, "arguments": call.arguments}}
        for index, call in enumerate(calls)
    ]


def _saying(text: str, chat: bool) -> Json:
    return {"message": {"role": "assistant", "content": text}} if chat else {"response": text}


def _ending(name: str, at: datetime, text: str, reason: str, *, chat: bool) -> Json:
    return {"model": name, "created_at": moment(at), **_saying(text, chat), "done": True, "done_reason": reason}


def _nanoseconds(seconds: float | None) -> int:
    return round((seconds or 0) * 1e9)


def _without_zeros(counts: dict[str, int]) -> dict[str, int]:
    return {key: count for key, count in counts.items() if count}  # Go's omitempty: zero and absent are the same here.
