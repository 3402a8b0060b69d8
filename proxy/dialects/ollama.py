"""Ollama's native dialect, ``/api``: one JSON object per line when it streams, which it does unless told not to.

Counts stand on the object with ``"done":true`` and nowhere else; each is left out when it is zero.
"""

from collections.abc import Mapping
from typing import Any

from proxy.dialects import Meter, Said, Visible, looks, strict_json
from proxy.dialects.counts import Bounds, Tally, Told, bounds_of, floor_of, length_of, object_in, seconds
from proxy.dialects.events import LONGEST_EVENT
from proxy.dialects.lists import only, without_paths
from proxy.dialects.screen import Screen
from proxy.dialects.transfers import TransferMeter
from proxy.dialects.whole import EditedMeter, FreeMeter, WholeMeter
from proxy.errors import NotUnderstood
from proxy.vocabulary import Ask, Endpoint, ModelIn, Risk, Takes, Usage, UsageIn

KNOWN = frozenset(
    """model name stream options keep_alive messages prompt suffix system template raw context images format tools think
    truncate shift logprobs top_logprobs _debug_render_only input dimensions verbose insecure username password from
    remote_host files adapters license parameters quantize draft_quantize renderer parser requires info
    source destination query max_results url modelfile path""".split()
)
PROMPT = ("prompt", "suffix", "system", "messages", "input")
BESIDE = ("tools", "template", "context", "images")
"""What comes into a prompt too, if the model's template has it so."""
ONLY_LOADED = ("load", "unload")
"""Why an answer is done for which the model was not asked anything."""
PHASES = ("load_duration", "prompt_eval_duration", "eval_duration")


class OllamaDialect:
    """``/api/*`` and ``/``."""

    failure_is_an_end = False

    def read(self, endpoint: Endpoint, said: Said) -> Ask:
        if endpoint.takes is not Takes.JSON:
            return Ask(endpoint, segment=said.segment)
        fields = strict_json.read_object(said.body, KNOWN)
        model = strict_json.text_of(fields, "model")
        if endpoint.model_in is ModelIn.BODY_OR_NAME:
            model = model or strict_json.text_of(fields, "name")
        stream = endpoint.streams is not None and strict_json.flag_of(fields, "stream", endpoint.streams)
        if endpoint.risk is Risk.MANAGE and endpoint.streams:
            fields["stream"] = b"true"  # See ``transfers``.
        return Ask(
            endpoint,
            model=model,
            stream=stream,
            fields=fields,
            prompt_floor=floor_of(fields, PROMPT),
            prompt_bytes=length_of(fields, PROMPT + BESIDE),
        )

    def meter(self, ask: Ask, *, streamed: bool, visible: Visible) -> Meter:
        match ask.endpoint.path:
            case "/api/tags" | "/api/ps":
                return EditedMeter(only(visible, "models", "name", "model"))
            case "/api/show":
                return EditedMeter(without_paths)
        if ask.endpoint.risk is Risk.MANAGE and ask.endpoint.streams:
            return TransferMeter(ask.most_bytes, shows_all=ask.stream)
        if ask.endpoint.usage_in is UsageIn.NOWHERE:
            return FreeMeter()
        bounds = bounds_of(ask, _options(ask).get("num_predict", b"null"))
        if streamed:
            return LinesMeter(bounds)
        return WholeMeter(bounds, told_in if ask.endpoint.usage_in is UsageIn.DONE else _never)

    def refusal(
        self, status: int, code: str, message: str, call_id: str, counts: str | None = None, param: str | None = None
    ) -> bytes:
        return strict_json.dump({"error": message})

    def last_words(self, code: str, message: str, call_id: str) -> bytes:
        return strict_json.dump({"error": message}) + b"\n"


class LinesMeter:
    """Watches a stream of lines up to the one that is done."""

    __slots__ = ("_held", "_is_between", "_screen", "_tally", "_too_long", "complete", "failed")

    rewrites = False
    content_type: str | None = None

    def __init__(self, bounds: Bounds) -> None:
        self._tally = Tally(bounds)
        self._is_between = True
        """The next byte begins a line."""
        self._screen = Screen()
        self._held = bytearray()
        self._too_long = False
        self.complete = False
        self.failed = False

    def feed(self, chunk: bytes) -> bytes:
        if self._is_between and looks.is_one_line(chunk) and looks.says_more(chunk):
            self._tally.pieces += 1
            return chunk
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._hold(piece)
            self._line_ends()
        self._hold(rest)
        self._is_between = not self._held and not self._too_long
        return self._screen.feed(chunk)

    def end(self) -> bytes:
        self._line_ends()  # An answer that is only one object has no line end.
        return self._screen.end()

    def _hold(self, piece: bytes) -> None:
        self._held += piece
        if len(self._held) > LONGEST_EVENT:
            self._too_long = True
            self._held.clear()

    def _line_ends(self) -> None:
        line, unread = bytes(self._held), self._too_long
        self._held.clear()
        self._too_long = False
        if not unread:
            self._see(line)

    def _see(self, line: bytes) -> None:
        told = object_in(line)
        if told is None:
            return
        if told.get("error"):
            self.failed = True
        elif told.get("done") is True:
            self.complete = True
            self._tally.tell(told_in(told))
        elif _speaks(told):
            self._tally.pieces += 1

    @property
    def counted(self) -> bool:
        return self._tally.is_told

    @property
    def usage(self) -> Usage:
        return self._tally.usage


def told_in(told: Mapping[str, Any]) -> Told:
    """The counts on a finished object. One of the embeddings of nothing has no vectors, and a rendered prompt no
    answer."""
    return Told(
        told.get("prompt_eval_count"),
        told.get("eval_count"),
        _embedding(told) if "embeddings" in told else tuple(map(told.get, PHASES)),
        spoke=_speaks(told),
        idle=told.get("done_reason") in ONLY_LOADED or told.get("embeddings") == [] or "_debug_info" in told,
    )


def _embedding(told: Mapping[str, Any]) -> tuple[Any, ...]:
    """The phases of embedding, of which only loading is told, and how long all took; nothing where that is left out."""
    load, total = told.get("load_duration"), told.get("total_duration")
    if total is None:
        return None, None, None
    begun = load if load is not None else 0
    is_told = seconds(begun) is not None and seconds(total) is not None
    return load, total - begun if is_told else total, None


def _options(ask: Ask) -> Mapping[str, bytes]:
    """Those of the request as it is sent; none where they are no object."""
    try:
        return strict_json.read_object(ask.fields.get("options", b"{}"), frozenset())
    except NotUnderstood:
        return {}


def _speaks(told: Mapping[str, Any]) -> bool:
    said = told.get("message")
    if isinstance(said, dict):
        return bool(said.get("content") or said.get("thinking") or said.get("tool_calls"))
    return bool(said or told.get("response") or told.get("thinking"))


def _never(_: Mapping[str, Any]) -> None:
    return None
