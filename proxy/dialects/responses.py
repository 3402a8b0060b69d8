"""OpenAI's ``/v1/responses`` as Ollama speaks it.

A stream is whole only with ``response.completed``, which alone has the counts; no ``[DONE]`` follows. That event
repeats all that was said and the caller's own instructions and tools, so that one line may be megabytes long.
"""

from typing import Any

from proxy.dialects import Meter, Said, Visible, looks, strict_json
from proxy.dialects.counts import Bounds, Tally, Told, bounds_of, floor_of, length_of, object_in
from proxy.dialects.events import Blocks, Event
from proxy.dialects.openai import OpenAIDialect
from proxy.dialects.whole import WholeMeter
from proxy.vocabulary import Ask, Endpoint, Usage

KNOWN = frozenset(
    """model input instructions stream tools tool_choice temperature top_p max_output_tokens max_tool_calls text
    reasoning truncation background conversation previous_response_id store include metadata parallel_tool_calls user
    stream_options service_tier prompt prompt_cache_key safety_identifier top_logprobs logprobs
    _debug_render_only""".split()
)
PROMPT = ("instructions", "input", "tools")
LAST = b"event: response.completed"

AFTER_ALL_OTHERS = 2**31 - 1
"""The sequence number of our last words. How many events came before is not known here; typed clients want a
number, and who sorts or resumes by it takes a low one for old."""


DELTA = b"event: response.output_text.delta\ndata: {"
DELTA_TYPE = b'"type":"response.output_text.delta"'


class ResponsesDialect(OpenAIDialect):
    """``/v1/responses``; it refuses as the rest of OpenAI's part does."""

    # Its clients are told by an event like any other and go on to the end: an unclean one would hide what was told.
    failure_is_an_end = True

    def read(self, endpoint: Endpoint, said: Said) -> Ask:
        fields = strict_json.read_object(said.body, KNOWN)
        return Ask(
            endpoint,
            model=strict_json.text_of(fields, "model"),
            stream=strict_json.flag_of(fields, "stream", bool(endpoint.streams)),
            fields=fields,
            prompt_floor=floor_of(fields, PROMPT),
            prompt_bytes=length_of(fields, PROMPT),
        )

    def meter(self, ask: Ask, *, streamed: bool, visible: Visible) -> Meter:
        bounds = bounds_of(ask, ask.fields.get("max_output_tokens", b"null"))
        return ResponseMeter(bounds) if streamed else WholeMeter(bounds, told_in)

    def last_words(self, code: str, message: str, call_id: str) -> bytes:
        """``response.failed`` is the event for it, but OpenAI's own library passes that on like any other event, as it
        does ``error``. It raises only for a member ``error``, on whatever event: so this one has both."""
        failed = {
            "type": "response.failed",
            "sequence_number": AFTER_ALL_OTHERS,
            "response": {
                "id": call_id,
                "object": "response",
                "status": "failed",
                "error": {"code": "server_error", "message": message},
                "output": [],
            },
            "error": {"message": message, "type": "api_error", "param": None, "code": code},
        }
        return b"event: response.failed\ndata: " + strict_json.dump(failed) + b"\n\n"


class ResponseMeter:
    """Watches a stream of events up to ``response.completed``."""

    __slots__ = ("_blocks", "_is_last", "_tally", "complete", "failed")

    rewrites = False
    content_type: str | None = None

    def __init__(self, bounds: Bounds) -> None:
        self._blocks = Blocks()
        self._tally = Tally(bounds)
        self._is_last = False
        """An event that is too long to be held has begun, and it is the last."""
        self.complete = False
        self.failed = False

    def feed(self, chunk: bytes) -> bytes:
        if self._blocks.is_between and looks.is_one_event(chunk, DELTA) and DELTA_TYPE in chunk:
            self._tally.pieces += 1
            return chunk
        for event in self._blocks.feed(chunk):
            self._see(event)
        return chunk

    def end(self) -> bytes:
        self._see(self._blocks.rest())
        return b""

    def _see(self, event: Event) -> None:
        if not event.data:
            # Too long to be held: then its counts are lost, but the answer is whole where its last event has ended.
            self._is_last = self._is_last or event.raw.startswith(LAST)
            self.complete = self.complete or (self._is_last and not self._blocks.goes_on)
            return
        told = object_in(event.data)
        if told is None:
            return
        match told.get("type"):
            case "response.completed":
                self.complete = True
                response = told.get("response")
                if isinstance(response, dict) and (counted := told_in(response)):
                    self._tally.tell(counted)
            case "response.failed" | "error":
                self.failed = True
            case str(kind) if kind.endswith(".delta"):
                self._tally.pieces += 1
            case None if told.get("error"):  # The shape of the older routes.
                self.failed = True

    @property
    def counted(self) -> bool:
        return self._tally.is_told

    @property
    def usage(self) -> Usage:
        return self._tally.usage


def told_in(response: dict[str, Any]) -> Told | None:
    """Zeros are true where nothing was said: without an ``input`` the model is only loaded, and no other word tells."""
    usage, output = response.get("usage"), response.get("output")
    if not isinstance(usage, dict):
        return None
    spoke = any(map(_speaks, output)) if isinstance(output, list) else output is True
    return Told(usage.get("input_tokens"), usage.get("output_tokens"), spoke=spoke, idle=not spoke)


def _speaks(item: Any) -> bool:
    """Whether an item of the output says anything; one that is no message is a thought or a tool call."""
    if not isinstance(item, dict) or item.get("type") != "message":
        return isinstance(item, dict)
    content = item.get("content")
    return any(map(_has_words, content)) if isinstance(content, list) else bool(content)


def _has_words(part: Any) -> bool:
    """Whether a part of a message says anything: where the model was not asked, there is one with an empty text."""
    return not isinstance(part, dict) or part.get("text") != ""
