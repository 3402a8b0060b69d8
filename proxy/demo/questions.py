"""Ollama's questions put into the words of llama.cpp's server, and what it says read back. Nothing here does I/O."""

from dataclasses import dataclass, field
from typing import Any

from proxy.demo.native import Json, inner
from proxy.errors import BackendBrokeOff, NotUnderstood
from proxy.vocabulary import Usage

_OPTIONS = {
    **{same: same for same in ("temperature", "top_k", "top_p", "min_p", "typical_p", "seed", "stop")},
    **{same: same for same in ("repeat_penalty", "repeat_last_n", "presence_penalty", "frequency_penalty")},
    "num_predict": "max_tokens",
    "num_keep": "n_keep",
}
"""Ollama's name of a sampling option to the engine's; options that would reload the model are not among them."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the engine is asked, and on which of its paths."""

    path: str
    body: Json


def chat(body: Json) -> Question | None:
    """None where there is nothing to answer: Ollama then only loads the model."""
    messages = body.get("messages")
    if not messages:
        return None
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise NotUnderstood("json: cannot unmarshal the field messages into a list of objects")
    _refuse_what_the_model_cannot(body, *messages)
    turns = [{"role": turn.get("role", "user"), "content": turn.get("content") or ""} for turn in messages]
    return Question("/v1/chat/completions", {"messages": turns, **_manner(body)})


def generate(body: Json) -> Question | None:
    """None where there is nothing to answer. The ``context`` of an earlier answer is not taken up."""
    prompt = body.get("prompt")
    if not prompt:
        return None
    if not isinstance(prompt, str):
        raise NotUnderstood("json: cannot unmarshal the field prompt into string")
    _refuse_what_the_model_cannot(body)
    if body.get("raw"):
        return Question("/v1/completions", {"prompt": prompt, **_manner(body)})
    system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    turns = [*system, {"role": "user", "content": prompt}]
    return Question("/v1/chat/completions", {"messages": turns, **_manner(body)})


@dataclass(slots=True)
class Heard:
    """What the engine has said so far, from one event to the next."""

    words: list[str] = field(default_factory=list)
    reason: str | None = None
    """None until the engine has said that it is through."""
    _counts: Json = field(default_factory=dict)
    _timings: Json = field(default_factory=dict)

    def take(self, event: Json) -> str:
        """The text that this event adds."""
        if "error" in event:
            raise BackendBrokeOff(complaint(event))
        self._counts = event.get("usage") or self._counts
        self._timings = event.get("timings") or self._timings
        added = ""
        for choice in event.get("choices") or ():
            added += (choice.get("delta") or {}).get("content") or choice.get("text") or ""
            self.reason = choice.get("finish_reason") or self.reason
        if added:
            self.words.append(added)
        return added

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def usage(self) -> Usage:
        return Usage(
            self._counts.get("prompt_tokens", 0),
            self._counts.get("completion_tokens", 0),
            prompt_seconds=self._timings.get("prompt_ms", 0) / 1000,
            completion_seconds=self._timings.get("predicted_ms", 0) / 1000,
        )


def complaint(answer: Any) -> str:
    """The text of an error, in whichever of its two shapes the engine tells it."""
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or "the engine failed without a word")


def _manner(body: Json) -> Json:
    """How to answer. Always as a stream with counts: that way a client who leaves is noticed at the next token."""
    options = inner(body, "options").items()
    known = {_OPTIONS[name]: value for name, value in options if name in _OPTIONS and value is not None}
    return {**known, **_format(body.get("format")), "stream": True, "stream_options": {"include_usage": True}}


def _format(wanted: Any) -> Json:
    if not wanted:
        return {}
    if wanted == "json":
        return {"response_format": {"type": "json_object"}}
    if isinstance(wanted, dict):
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}}
    raise NotUnderstood(f'invalid format: {wanted!r}; expected "json" or a valid JSON Schema object')


def _refuse_what_the_model_cannot(body: Json, *messages: Json) -> None:
    for member, ability in (("tools", "tools"), ("think", "thinking"), ("suffix", "insert"), ("images", "vision")):
        if any(part.get(member) for part in (body, *messages)):
            raise NotUnderstood(f'"{body["model"]}" does not support {ability}')
