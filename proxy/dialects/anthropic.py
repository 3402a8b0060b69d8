"""Anthropic's dialect, ``/v1/messages``.

A stream begins with an estimate of the prompt (``message_start``) and ends with the true counts (``message_delta``).
"""

from typing import Any

from proxy.dialects import Meter, Said, Visible, looks, strict_json
from proxy.dialects.counts import Bounds, Tally, Told, bounds_of, floor_of, length_of, object_in
from proxy.dialects.events import Blocks, Event
from proxy.dialects.whole import WholeMeter
from proxy.vocabulary import Ask, Endpoint, Usage

KNOWN = frozenset(
    """model max_tokens messages system stream temperature top_p top_k stop_sequences tools tool_choice thinking
    metadata output_config logprobs top_logprobs _debug_render_only""".split()
)
PROMPT = ("system", "messages", "tools")
CACHED = ("cache_read_input_tokens", "cache_creation_input_tokens")
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta",'


class AnthropicDialect:
    """``/v1/messages``."""

    failure_is_an_end = False

    def read(self, endpoint: Endpoint, said: Said) -> Ask:
        fields = strict_json.read_object(said.body, KNOWN)
        stream = endpoint.streams is not None and strict_json.flag_of(fields, "stream", endpoint.streams)
        return Ask(
            endpoint,
            model=strict_json.text_of(fields, "model"),
            stream=stream,
            fields=fields,
            prompt_floor=floor_of(fields, PROMPT),
            prompt_bytes=length_of(fields, PROMPT),
        )

    def meter(self, ask: Ask, *, streamed: bool, visible: Visible) -> Meter:
        bounds = bounds_of(ask, ask.fields.get("max_tokens", b"null"))
        return EventsMeter(bounds) if streamed else WholeMeter(bounds, told_in)

    def refusal(
        self, status: int, code: str, message: str, call_id: str, counts: str | None = None, param: str | None = None
    ) -> bytes:
        kind = TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return strict_json.dump({"type": "error", "error": {"type": kind, "message": message}, "request_id": call_id})

    def last_words(self, code: str, message: str, call_id: str) -> bytes:
        return b"event: error\ndata: " + self.refusal(500, code, message, call_id) + b"\n\n"


class EventsMeter:
    """Watches a stream of events up to ``message_stop``."""

    __slots__ = ("_blocks", "_tally", "complete", "failed")

    rewrites = False
    content_type: str | None = None

    def __init__(self, bounds: Bounds) -> None:
        self._blocks = Blocks()
        self._tally = Tally(bounds)
        self.complete = False
        self.failed = False

    def feed(self, chunk: bytes) -> bytes:
        if self._blocks.is_between and looks.is_one_event(chunk, DELTA):
            self._tally.pieces += 1
            return chunk
        for event in self._blocks.feed(chunk):
            self._see(event)
        return chunk

    def end(self) -> bytes:
        self._see(self._blocks.rest())
        return b""

    def _see(self, event: Event) -> None:
        told = object_in(event.data)
        if told is None:
            return
        match told.get("type"):
            case "content_block_delta":
                self._tally.pieces += 1
            case "message_delta":
                if counted := told_in(told):
                    self._tally.tell(counted)
            case "message_stop":
                self.complete = True
            case "error":
                self.failed = True

    @property
    def counted(self) -> bool:
        return self._tally.is_told

    @property
    def usage(self) -> Usage:
        return self._tally.usage


def told_in(told: dict[str, Any]) -> Told | None:
    usage = told.get("usage")
    if not isinstance(usage, dict):
        return None
    return Told(_prompt_in(usage), usage.get("output_tokens"), spoke=bool(told.get("content")))


def _prompt_in(usage: dict[str, Any]) -> Any:
    """Tokens of the whole prompt: Anthropic's ``input_tokens`` are those that no cache had to do with, if any did."""
    fresh = usage.get("input_tokens")
    if type(fresh) is not int or fresh < 0:
        return fresh
    return fresh + sum(count for name in CACHED if type(count := usage.get(name)) is int and count > 0)
