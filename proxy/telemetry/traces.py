"""Traces for OpenTelemetry: a span for each call, made of its entry, told to a collector by OTLP over HTTP.

Never a prompt, an answer or a credential, nor anything else that a caller wrote: a model is named once it was asked.
Names are those of the semantic conventions for HTTP servers and for generative AI, and begin with ``llamagate.`` where
those have none. Spans are made and told by a thread, in groups; whoever is recorded meanwhile waits for nothing.
"""

import logging
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Protocol

from proxy.errors import Misconfigured, safe_to_show
from proxy.late import late, load
from proxy.vocabulary import Entry, Outcome

if TYPE_CHECKING:
    from opentelemetry import trace as api
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as otlp
    from opentelemetry.sdk import resources, trace
    from opentelemetry.sdk.trace import export as exporting
    from opentelemetry.sdk.util import instrumentation
else:
    api = late("opentelemetry.trace")
    otlp = late("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    resources = late("opentelemetry.sdk.resources")
    trace = late("opentelemetry.sdk.trace")
    exporting = late("opentelemetry.sdk.trace.export")
    instrumentation = late("opentelemetry.sdk.util.instrumentation")

MOST_WAITING: Final = 2048
"""Calls that wait to be told; beyond, the new ones are lost."""
MOST_AT_ONCE: Final = 512
GATHER_SECONDS: Final = 1.0
"""How long a call waits for others to be told with."""
TELL_SECONDS: Final = 10.0
"""For a collector to take what it is told."""
RETRY_SECONDS: Final = 10.0
"""Between two tries while the collector takes nothing."""
END_SECONDS: Final = 2.0
"""How long the end of the gate waits for the collector, and then for the thread to hear of it."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_METHODS = frozenset("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE".split())
_OPERATIONS = {
    "/api/chat": "chat",
    "/api/embed": "embeddings",
    "/api/embeddings": "embeddings",
    "/api/generate": "text_completion",
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
    "/v1/messages": "chat",
    "/v1/responses": "chat",
}
"""In the words of ``gen_ai.operation.name``."""
_OURS = frozenset({Outcome.BACKEND_FAILED, Outcome.TRUNCATED, Outcome.GATE_FAILED, Outcome.LOST})
"""Endings that are no caller's fault."""
_ANSWERED = frozenset({Outcome.SERVED, Outcome.TRUNCATED, Outcome.CLIENT_STALLED})
_PERSON = b"llamagate.trace"
"""So that the secret, which digests keys too, makes other digests here (BLAKE2's personalisation, 16 bytes at most)."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

RandomBits = Callable[[int], int]
"""A number of so many bits at the most, as nobody can foresee it."""


@dataclass(frozen=True, slots=True)
class Parent:
    """What a ``traceparent`` says: of which trace, and of which span in it, a call is a part."""

    trace_id: int
    span_id: int
    is_sampled: bool


@dataclass(frozen=True, slots=True)
class Context:
    """Where a call stands among traces."""

    trace_id: int
    span_id: int
    is_sampled: bool
    method: str
    parent: Parent | None = None

    @property
    def traceparent(self) -> str:
        """As it is told to whoever is asked next."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.is_sampled:02x}"


def parent_of(traceparent: str) -> Parent | None:
    """What the header field says (W3C Trace Context §3.2.2 and §4.3); None where it is not as it should be."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Parent(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & 1))


def pseudonyms(secret: bytes) -> Callable[[str, str], str]:
    """By the kind of a name and the name, 16 hexadecimal characters that only whoever has the secret can make again."""
    key = blake2b(secret, person=_PERSON).digest()  # BLAKE2 takes 64 bytes as its key; a secret may have more.

    def pseudonym(kind: str, name: str) -> str:
        text = f"{kind}:{name}".encode("utf-8", "surrogatepass")
        return blake2b(text, digest_size=8, key=key, person=_PERSON).hexdigest()

    return pseudonym


class Collector(Protocol):
    """Takes traces."""

    def take(self, calls: Sequence[tuple[Context, Entry]]) -> str | None:
        """Why it does not take them, in words that are safe to show; None where it does. May wait."""

    def close(self) -> None:
        """Wait no longer, from whatever thread."""


class Traces:
    """A ``Listener`` of entries, which belong to the trace that the same task ``begins`` before."""

    def __init__(
        self,
        collector: Collector,
        random_bits: RandomBits,
        *,
        sample: float = 1.0,
        gather_seconds: float = GATHER_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
        end_seconds: float = END_SECONDS,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._dropped = 0
        """Calls for which there was no room; the loop counts them."""
        self._untold = 0
        """Calls that the collector did not take; the thread counts them."""
        self._collector = collector
        self._random_bits = random_bits
        self._below = round(sample * 2**64)
        self._gather_seconds = gather_seconds
        self._retry_seconds = retry_seconds
        self._end_seconds = end_seconds
        self._most_waiting = most_waiting
        self._context: ContextVar[Context | None] = ContextVar("context", default=None)
        self._waiting: deque[tuple[Context, Entry]] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._is_away = False
        self._log = logging.getLogger("proxy.traces")
        self._thread = threading.Thread(target=self._tell_all, name="traces", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Calls that nobody will be told of."""
        return self._dropped + self._untold

    def begins(self, method: str, traceparent: str | None) -> None:
        """A call begins in this task; ``traceparent`` is what is said of it and believed."""
        parent = None if traceparent is None else parent_of(traceparent)
        method = method if method in _METHODS else "_OTHER"
        span_id = self._random_bits(64) or 1  # Zero is none.
        if parent is not None:
            self._context.set(Context(parent.trace_id, span_id, parent.is_sampled, method, parent))
            return
        trace_id = self._random_bits(128) or 1
        self._context.set(Context(trace_id, span_id, trace_id % 2**64 < self._below, method))

    def passed_on(self) -> dict[str, str]:
        """The header field for whoever is asked on behalf of this task's call."""
        context = self._context.get()
        return {} if context is None else {"traceparent": context.traceparent}

    def recorded(self, entry: Entry) -> None:
        context = self._context.get()
        if context is None or not context.is_sampled:
            return
        count = len(self._waiting)
        if count >= self._most_waiting:
            self._dropped += 1
            return
        self._waiting.append((context, entry))
        if count == MOST_AT_ONCE:
            self._wake.set()

    def close(self) -> None:
        """Tell what is left. It waits for the collector, though not for long."""
        self._closing.set()
        self._wake.set()
        self._thread.join(self._end_seconds)
        self._collector.close()
        self._thread.join(self._end_seconds)

    def _tell_all(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(self._gather_seconds)
            self._wake.clear()
            while self._waiting and self._tell():
                pass
            if self._is_away:
                self._closing.wait(self._retry_seconds)
        while self._waiting and self._tell():
            pass
        self._untold += len(self._waiting)

    def _tell(self) -> bool:
        """Whether the collector took some of what waits. While it does not, no more than one call is spent on a try."""
        most = 1 if self._is_away else MOST_AT_ONCE
        group = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        try:
            why = self._collector.take(group)
        except Exception as error:  # noqa: BLE001 - a thread that ended would tell nobody anything any more
            why = type(error).__qualname__
        if why is not None:
            self._untold += len(group)
            if not self._is_away:
                self._log.warning("traces_not_taken", extra={"error": why})
        elif self._is_away:
            self._log.warning("traces_taken_again", extra={"lost": self.lost})
        self._is_away = why is not None
        return why is None


class OtlpCollector:
    """Takes traces by OTLP over HTTP, in protobuf.

    What it needs beside its address, as a header with a token, it is told by OpenTelemetry's own variables of the
    environment. Raises Misconfigured where the libraries are not installed.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        version: str,
        random_bits: RandomBits,
        pseudonym: Callable[[str, str], str] | None = None,
        seconds: float = TELL_SECONDS,
    ) -> None:
        """Without a ``pseudonym`` callers are not told of."""
        try:
            load(api, otlp, resources, trace, exporting, instrumentation)
        except ImportError as error:
            raise Misconfigured(
                "Traces need what is not installed here: pip install 'llamagate[otel]', or leave out traces.endpoint."
            ) from error
        self._random_bits = random_bits
        self._pseudonym = pseudonym
        self._resource = resources.Resource.create({"service.name": "llamagate", "service.version": version})
        self._scope = instrumentation.InstrumentationScope("llamagate", version)
        self._complaints = _Complaints()
        theirs = logging.getLogger("opentelemetry")
        theirs.handlers[:], theirs.propagate = [self._complaints], False
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # It tells of every connection, with the whole address.
        self._exporter = otlp.OTLPSpanExporter(endpoint=endpoint, timeout=seconds)

    def take(self, calls: Sequence[tuple[Context, Entry]]) -> str | None:
        spans = [span for context, entry in calls for span in self.spans(context, entry)]
        self._complaints.forget()
        taken = self._exporter.export(spans)
        if taken is exporting.SpanExportResult.SUCCESS:
            return None
        return safe_to_show(self._complaints.first or "no reason given")

    def close(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def spans(self, context: Context, entry: Entry) -> "Iterator[trace.ReadableSpan]":
        """That of the call, and one in it for each phase that the backend told.

        How long each phase took was told, and not when: they stand one after the other before the call's end.
        """
        began = (entry.at - _EPOCH) // _MICROSECOND * 1000
        ended = began + _nanoseconds(entry.total_seconds)
        name, attributes = _told_of(context, entry)
        if self._pseudonym is not None and entry.user is not None:
            attributes["enduser.pseudo.id"] = self._pseudonym("user", entry.user)
        if self._pseudonym is not None and entry.key_id is not None:
            attributes["llamagate.key.pseudo_id"] = self._pseudonym("key", entry.key_id)
        here = self._span_context(context, context.span_id)
        parent = None if context.parent is None else self._span_context(context, context.parent.span_id, is_remote=True)
        failed = entry.outcome in _OURS or (entry.status or 0) >= 500
        status = api.Status(api.StatusCode.ERROR if failed else api.StatusCode.UNSET)
        yield self._span(name, here, parent, attributes, api.SpanKind.SERVER, status, began, ended)
        phases = [(phase, seconds) for phase, seconds in _phases(entry) if seconds > 0]
        at = max(began, ended - sum(_nanoseconds(seconds) for _, seconds in phases))
        for phase, seconds in phases:
            over = at + _nanoseconds(seconds)
            mine = self._span_context(context, self._random_bits(64) or 1)
            yield self._span(phase, mine, here, {}, api.SpanKind.INTERNAL, api.Status(), at, over)
            at = over

    def _span_context(self, context: Context, span_id: int, *, is_remote: bool = False) -> "api.SpanContext":
        return api.SpanContext(context.trace_id, span_id, is_remote, api.TraceFlags(api.TraceFlags.SAMPLED))

    def _span(
        self,
        name: str,
        context: "api.SpanContext",
        parent: "api.SpanContext | None",
        attributes: dict[str, Any],
        kind: "api.SpanKind",
        status: "api.Status",
        began: int,
        ended: int,
    ) -> "trace.ReadableSpan":
        return trace.ReadableSpan(
            name,
            context=context,
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            kind=kind,
            status=status,
            start_time=began,
            end_time=ended,
            instrumentation_scope=self._scope,
        )


def _told_of(context: Context, entry: Entry) -> tuple[str, dict[str, Any]]:
    """The span's name, and what is told beside it."""
    is_known = entry.endpoint.startswith("/")
    operation = _OPERATIONS.get(entry.endpoint)
    name = f"{context.method} {entry.endpoint}" if is_known else context.method
    told: dict[str, Any] = {
        "http.request.method": context.method,
        "llamagate.call.id": entry.id,
        "llamagate.outcome": entry.outcome.value,
    }
    if is_known:
        told["http.route"] = entry.endpoint
    if entry.status is not None:
        told["http.response.status_code"] = entry.status
    if entry.reason is not None:
        told["error.type"] = entry.reason
    if operation is None:
        return name, told
    usage, was_asked = entry.usage, _was_asked(entry)
    told |= {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "ollama",
        "gen_ai.request.stream": entry.stream,
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "llamagate.usage.exact": usage.exact,
        "llamagate.gpu_seconds": entry.gpu_seconds,
    }
    if entry.stream and entry.first_byte_seconds is not None:
        told["gen_ai.response.time_to_first_chunk"] = entry.first_byte_seconds
    if entry.model is None or not was_asked:
        return operation, told
    told["gen_ai.request.model"] = entry.model
    return f"{operation} {entry.model}", told


def _was_asked(entry: Entry) -> bool:
    """Whether the backend was: before that, the model's name may be whatever somebody wrote."""
    return entry.outcome in _ANSWERED or entry.usage.tokens > 0 or entry.gpu_seconds > 0


def _phases(entry: Entry) -> Iterator[tuple[str, float]]:
    usage = entry.usage
    yield "load", usage.load_seconds or 0.0
    yield "prompt", usage.prompt_seconds or 0.0
    yield "completion", usage.completion_seconds or 0.0


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


class _Complaints(logging.Handler):
    """Keeps the first of what would stand in the log each time that a collector takes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first: str | None = None

    def forget(self) -> None:
        self.first = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.first is None:
            self.first = record.getMessage()
