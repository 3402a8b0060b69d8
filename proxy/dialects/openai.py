"""OpenAI's dialect as Ollama speaks it: ``/v1/chat/completions``, ``completions``, ``embeddings`` and ``models``.

A stream tells its counts only where ``stream_options.include_usage`` asks for them, so the gate always asks, and takes
out what the client did not ask for. ``/v1/completions`` then puts a usage of zeros on every chunk but the last.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from proxy.dialects import Meter, Said, Visible, looks, queries, strict_json
from proxy.dialects.counts import Bounds, Tally, Told, bounds_of, floor_of, length_of, object_in
from proxy.dialects.events import Blocks, Event
from proxy.dialects.lists import only
from proxy.dialects.whole import EditedMeter, FreeMeter, WholeMeter
from proxy.errors import NotUnderstood
from proxy.vocabulary import Ask, Endpoint, Takes, Usage, UsageIn, joined

KNOWN = frozenset(
    """model messages stream stream_options max_tokens seed stop temperature frequency_penalty presence_penalty top_p
    response_format tools reasoning reasoning_effort logprobs top_logprobs prompt suffix echo input dimensions
    encoding_format max_completion_tokens _debug_render_only""".split()
)
OPTIONS_KNOWN = frozenset({"include_usage"})
PROMPT = ("prompt", "suffix", "messages", "input", "tools")
TYPES = {400: "invalid_request_error", 401: "invalid_request_error", 404: "not_found_error", 429: "rate_limit_error"}
DONE = b"[DONE]"
ONLY_LOADED = ("load", "unload")
"""Ollama's own reasons for an answer's end, where the model was not asked anything."""


class OpenAIDialect:
    """``/v1/*`` but for Anthropic's part of it."""

    failure_is_an_end = False

    def read(self, endpoint: Endpoint, said: Said) -> Ask:
        if endpoint.own:
            return Ask(endpoint, query=queries.read(said.query, endpoint.query), peer=said.peer)
        if endpoint.takes is not Takes.JSON:
            return Ask(endpoint, model=said.segment)
        fields = strict_json.read_object(said.body, KNOWN)
        stream = endpoint.streams is not None and strict_json.flag_of(fields, "stream", endpoint.streams)
        ask = Ask(
            endpoint,
            model=strict_json.text_of(fields, "model"),
            stream=stream,
            fields=fields,
            prompt_floor=floor_of(fields, PROMPT),
            prompt_bytes=length_of(fields, PROMPT),
        )
        return _asking_for_usage(ask) if stream else ask

    def meter(self, ask: Ask, *, streamed: bool, visible: Visible) -> Meter:
        if ask.endpoint.path == "/v1/models":
            return EditedMeter(only(visible, "data", "id"))
        if ask.endpoint.usage_in is UsageIn.NOWHERE:
            return FreeMeter()
        bounds = bounds_of(ask, ask.fields.get("max_tokens", b"null"))
        if streamed:
            return ChunksMeter(bounds, hides_usage=ask.hides_usage)
        return WholeMeter(bounds, told_in)

    def refusal(
        self, status: int, code: str, message: str, call_id: str, counts: str | None = None, param: str | None = None
    ) -> bytes:
        kind = counts or TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return strict_json.dump({"error": {"message": message, "type": kind, "param": param, "code": code}})

    def last_words(self, code: str, message: str, call_id: str) -> bytes:
        return b"data: " + self.refusal(502, code, message, call_id) + b"\n\n"


def _asking_for_usage(ask: Ask) -> Ask:
    options: dict[str, bytes] = {}
    if strict_json.value(ask.fields, "stream_options") is not None:
        try:
            options = strict_json.read_object(ask.fields["stream_options"], OPTIONS_KNOWN)
        except NotUnderstood as error:
            raise NotUnderstood("'stream_options' must be an object.", param="stream_options") from error
    asked = strict_json.flag_of(options, "include_usage", False)
    options["include_usage"] = b"true"
    fields = {**ask.fields, "stream_options": joined(options)}
    return replace(ask, fields=fields, hides_usage=not asked)


class ChunksMeter:
    """Watches a stream of chunks up to ``data: [DONE]``."""

    __slots__ = ("_blocks", "_hides", "_tally", "complete", "failed")

    content_type: str | None = None

    def __init__(self, bounds: Bounds, *, hides_usage: bool) -> None:
        self._blocks = Blocks()
        self._tally = Tally(bounds)
        self._hides = hides_usage
        self.complete = False
        self.failed = False

    @property
    def rewrites(self) -> bool:
        return self._hides

    def feed(self, chunk: bytes) -> bytes:
        if self._blocks.is_between and looks.is_one_event(chunk, b"data: {") and looks.says_content(chunk):
            self._tally.pieces += 1
            return chunk
        shown = [self._seen(event) for event in self._blocks.feed(chunk)]
        return b"".join(shown) if self._hides else chunk

    def end(self) -> bytes:
        rest = self._seen(self._blocks.rest())
        return rest if self._hides else b""

    def _seen(self, event: Event) -> bytes:
        """Take note of an event; what the client shall get of it."""
        if event.data.strip() == DONE:
            self.complete = True
            return event.raw
        told = object_in(event.data)
        if told is None:
            return event.raw
        if told.get("error"):
            self.failed = True
            return event.raw
        choices, usage = told.get("choices"), told.get("usage")
        if _spoken(choices):
            self._tally.pieces += 1
        counted = told_in(told)
        if counted and (counted.idle or not counted.says_nothing):
            self._tally.tell(counted)  # The last that is not all zeros is the truth.
        if not self._hides or "usage" not in told:
            return event.raw
        return b"" if choices == [] and usage else _without_usage(event)

    @property
    def counted(self) -> bool:
        return self._tally.is_told

    @property
    def usage(self) -> Usage:
        return self._tally.usage


def told_in(told: Mapping[str, Any]) -> Told | None:
    usage, choices = told.get("usage"), told.get("choices")
    if not isinstance(usage, dict):
        return None
    return Told(
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        spoke=_spoken(choices),
        idle=_only_loaded(choices) or "_debug_info" in told,
    )


def _only_loaded(choices: Any) -> bool:
    """Whether there is a choice, and each says that the model was not asked."""
    if not isinstance(choices, list) or not choices:
        return False
    return all(isinstance(one, dict) and one.get("finish_reason") in ONLY_LOADED for one in choices)


def _spoken(choices: Any) -> bool:
    """Whether one of them says anything. True stands for what is too long to be looked into."""
    return any(map(_speaks, choices)) if isinstance(choices, list) else choices is True


def _speaks(choice: Any) -> bool:
    if not isinstance(choice, dict):
        return False
    said = choice.get("delta") or choice.get("message")
    if not isinstance(said, dict):
        return bool(choice.get("text"))
    return any(said.get(name) for name in ("content", "reasoning", "reasoning_content", "tool_calls"))


def _without_usage(event: Event) -> bytes:
    members = msgspec.json.decode(event.data, type=dict[str, msgspec.Raw])
    del members["usage"]
    kept = joined({name: bytes(raw) for name, raw in members.items()})
    if event.raw.count(event.data) == 1:
        return event.raw.replace(event.data, kept)
    return b"data: " + kept.replace(b"\n", b"\ndata: ") + b"\n\n"  # It stood on several lines.
