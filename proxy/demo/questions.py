"""Every API's questions put into the words of llama.cpp's server, and what it says read back. Nothing here does I/O."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from proxy.demo import tools
from proxy.demo.native import Json, inner
from proxy.demo.said import Said
from proxy.errors import BackendBrokeOff, NotUnderstood
from proxy.vocabulary import Usage

_SAMPLING = "temperature top_k top_p min_p typical_p seed stop presence_penalty frequency_penalty".split()

_OPTIONS = {
    **{same: same for same in (*_SAMPLING, "repeat_penalty", "repeat_last_n")},
    "num_predict": "max_tokens",
    "num_keep": "n_keep",
}
"""Ollama's name of a sampling option to the engine's; options that would reload the model are not among them."""

_COMPATIBLE = {
    **{same: same for same in (*_SAMPLING, "max_tokens")},
    "stop_sequences": "stop",
    "max_output_tokens": "max_tokens",
}
"""The same for the compatible APIs."""

_COUNTED = {"stream": True, "stream_options": {"include_usage": True}}
"""Always as a stream with counts: that way a client who leaves is noticed at the next token."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the engine is asked, and on which of its paths."""

    path: str
    body: Json
    calls: bool = False
    """The answer is held to be a call of a function."""


def chat(body: Json) -> Question | None:
    """None where there is nothing to answer: Ollama then only loads the model."""
    messages = body.get("messages")
    if not messages:
        return None
    _refuse(body, "thinking" if body.get("think") else None)
    return _asked(body, _turns(body, messages), {**_options(body), **_format(body.get("format"))})


def generate(body: Json) -> Question | None:
    """None where there is nothing to answer. The ``context`` of an earlier answer is not taken up."""
    prompt = body.get("prompt")
    if not prompt:
        return None
    if not isinstance(prompt, str):
        raise NotUnderstood("json: cannot unmarshal the field prompt into string")
    for member, ability in (("think", "thinking"), ("suffix", "insert"), ("images", "vision")):
        _refuse(body, ability if body.get(member) else None)
    manner = {**_options(body), **_format(body.get("format"))}
    if body.get("raw"):
        return Question("/v1/completions", {"prompt": prompt, **manner, **_COUNTED})
    system = [_turn("system", body["system"])] if body.get("system") else []
    return _asked(body, [*system, _turn("user", prompt)], manner)


def v1_chat(body: Json) -> Question:
    if not body.get("messages"):
        raise NotUnderstood("[] is too short - 'messages'")
    wanted = inner(body, "response_format")
    schema = inner(wanted, "json_schema").get("schema") if wanted.get("type") == "json_schema" else None
    form = _format(schema or ("json" if wanted.get("type") == "json_object" else None))
    return _asked(body, _turns(body, body["messages"]), {**_compatible(body), **form})


def v1_messages(body: Json) -> Question:
    system = [_turn("system", _text(body, body["system"]))] if body.get("system") else []
    return _asked(body, [*system, *_turns(body, body["messages"])], _compatible(body))


def v1_responses(body: Json) -> Question | None:
    """None where there is nothing to answer."""
    told = body.get("input")
    if not told:
        return None
    system = [_turn("system", str(body["instructions"]))] if body.get("instructions") else []
    turns = [_turn("user", told)] if isinstance(told, str) else _turns(body, told)
    form = inner(inner(body, "text"), "format")
    schema = form.get("schema") if form.get("type") == "json_schema" else None
    wanted = schema or ("json" if form.get("type") == "json_object" else None)
    return _asked(body, [*system, *turns], {**_compatible(body), **_format(wanted)})


def _asked(body: Json, turns: list[Json], manner: Json) -> Question:
    functions = tools.offered(body)
    calls = bool(functions) and turns[-1]["role"] == "user"
    if calls:
        known = tools.instruction(functions)
        if turns[0]["role"] == "system":
            turns = [_turn("system", f"{turns[0]['content']}\n{known}"), *turns[1:]]
        else:
            turns = [_turn("system", known), *turns]
        manner = {**manner, **_schema(tools.schema(functions))}
    return Question("/v1/chat/completions", {"messages": turns, **manner, **_COUNTED}, calls)


def _turn(role: str, content: str) -> Json:
    return {"role": role, "content": content}


def _turns(body: Json, messages: Any) -> list[Json]:
    """The model's template knows who speaks and a text, and so calls and their results become texts too."""
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise NotUnderstood("json: cannot unmarshal the field messages into a list of objects")
    return [turn for message in messages for turn in _said_in(body, message)]


def _said_in(body: Json, message: Json) -> Iterable[Json]:
    _refuse(body, "vision" if message.get("images") else None)
    match message.get("type", "message"):
        case "message":
            role, content = message.get("role") or "user", message.get("content")
            text = _text(body, content)
            calls = [call.get("function") or call for call in tools.objects(message, "tool_calls")]
            if isinstance(content, list):
                calls += [part for part in content if part.get("type") == "tool_use"]
                results = [part for part in content if part.get("type") == "tool_result"]
                yield from (_turn("tool", _text(body, part.get("content"))) for part in results)
                if results and len(results) == len(content):
                    return
            yield _turn(
                "system" if role == "developer" else role,
                "\n".join(filter(None, [text, *map(_call, calls)])),
            )
        case "function_call":
            yield _turn("assistant", _call(message))
        case "function_call_output":
            yield _turn("tool", _text(body, message.get("output")))
        case other:
            raise NotUnderstood(f"unknown input item type: {other}")


def _call(told: Json) -> str:
    arguments = told.get("arguments") or told.get("input") or {}
    return json.dumps({"name": told.get("name"), "arguments": arguments})


def _text(body: Json, content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise NotUnderstood("json: cannot unmarshal the field content into string")
    kinds = {str(part.get("type")) for part in content}
    _refuse(body, "vision" if kinds & {"image", "image_url", "input_image"} else None)
    _refuse(body, "audio" if "input_audio" in kinds else None)
    return "\n".join(part.get("text") or "" for part in content if "text" in part)


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

    def said(self, seconds: float, *, calls: bool) -> Said:
        """All of it, once it has ended. A call that was cut off is a text."""
        text = "".join(self.words)
        call = tools.call_in(text) if calls else None
        usage = Usage(
            self._counts.get("prompt_tokens", 0),
            self._counts.get("completion_tokens", 0),
            prompt_seconds=self._timings.get("prompt_ms", 0) / 1000,
            completion_seconds=self._timings.get("predicted_ms", 0) / 1000,
        )
        reason = "length" if self.reason == "length" else "stop"
        return Said("" if call else text, reason, usage, seconds, (call,) if call else ())


def complaint(answer: Any) -> str:
    """The text of an error, in whichever of its two shapes the engine tells it."""
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or "the engine failed without a word")


def _options(body: Json) -> Json:
    options = inner(body, "options").items()
    return {_OPTIONS[name]: value for name, value in options if name in _OPTIONS and value is not None}


def _compatible(body: Json) -> Json:
    return {_COMPATIBLE[name]: value for name, value in body.items() if name in _COMPATIBLE and value is not None}


def _format(wanted: Any) -> Json:
    if not wanted:
        return {}
    if wanted == "json":
        return {"response_format": {"type": "json_object"}}
    if isinstance(wanted, dict):
        return _schema(tools.bounded(wanted))
    raise NotUnderstood(f'invalid format: {wanted!r}; expected "json" or a valid JSON Schema object')


def _schema(schema: Json) -> Json:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}


def _refuse(body: Json, ability: str | None) -> None:
    if ability:
        raise NotUnderstood(f'"{body["model"]}" does not support {ability}')
