"""The samples, each with what a meter must say of it."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from proxy.dialects import Meter
from proxy.dialects.table import DIALECTS
from proxy.policy import endpoints
from proxy.vocabulary import Ask, Part, Usage

FOLDER = Path(__file__).parents[1] / "samples"

FLOOR = 3
"""What every sample's prompt costs at the least."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer, and what is true of it however it is cut."""

    name: str
    path: str
    """Where it was asked."""
    counts: tuple[int, int]
    exact: bool = True
    complete: bool = True
    failed: bool = False

    @property
    def content(self) -> bytes:
        return (FOLDER / self.name).read_bytes()

    @property
    def streamed(self) -> bool:
        """Whether it came piece by piece; what did not is held until it is whole, and shown only if it is."""
        return self.name.endswith((".sse", ".ndjson"))

    @property
    def shown(self) -> bytes:
        return self.content if self.streamed or self.complete else b""

    def meter(self, *, hides_usage: bool = False) -> Meter:
        endpoint, _ = endpoints.find("POST", self.path)
        parts = (Part("response_format", b"text"),) if self.name.endswith(".txt") else ()
        ask = Ask(endpoint, stream=True, hides_usage=hides_usage, prompt_floor=FLOOR, parts=parts)
        return DIALECTS[endpoint.tongue].meter(ask, streamed=self.streamed, visible=lambda _: True)


CHAT, GENERATE, EMBED, OLD_EMBED = "/api/chat", "/api/generate", "/api/embed", "/api/embeddings"
V1_CHAT, V1_COMPLETIONS, V1_EMBED = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
V1_MESSAGES, V1_RESPONSES, V1_TRANSCRIPTIONS = "/v1/messages", "/v1/responses", "/v1/audio/transcriptions"

SAMPLES = (
    Sample("real-chat.ndjson", CHAT, (38, 12)),
    Sample("scripted-chat.ndjson", CHAT, (4, 12)),
    Sample("chat-about-counts.ndjson", CHAT, (11, 7)),
    Sample("chat-broken-off.ndjson", CHAT, (FLOOR, 3), exact=False, complete=False),
    Sample("chat-failed.ndjson", CHAT, (FLOOR, 2), exact=False, complete=False, failed=True),
    Sample("chat-load.json", CHAT, (0, 0)),
    Sample("chat-thinking-tools.ndjson", CHAT, (11, 7)),
    Sample("chat-zeros-left-out.ndjson", CHAT, (FLOOR, 1), exact=False),
    Sample("real-generate.ndjson", GENERATE, (31, 12)),
    Sample("real-generate.json", GENERATE, (31, 8)),
    Sample("real-load.json", GENERATE, (0, 0)),
    Sample("scripted-generate.ndjson", GENERATE, (1, 12)),
    Sample("generate-giant-context.ndjson", GENERATE, (11, 7)),
    Sample("generate-never-done.json", GENERATE, (FLOOR, 0), exact=False, complete=False),
    Sample("generate-rendered.json", GENERATE, (0, 0)),
    Sample("generate-unended.ndjson", GENERATE, (11, 7)),
    Sample("embed.json", EMBED, (8, 0)),
    Sample("embeddings.json", OLD_EMBED, (FLOOR, 0), exact=False),
    Sample("real-v1-chat-with-usage.sse", V1_CHAT, (38, 12)),
    Sample("real-v1-chat-without-usage.sse", V1_CHAT, (FLOOR, 6), exact=False),
    Sample("real-v1-chat.json", V1_CHAT, (38, 12)),
    Sample("scripted-v1-chat-with-usage.sse", V1_CHAT, (4, 12)),
    Sample("scripted-v1-chat-without-usage.sse", V1_CHAT, (FLOOR, 12), exact=False),
    Sample("v1-chat-about-counts.sse", V1_CHAT, (11, 7)),
    Sample("v1-chat-comments.sse", V1_CHAT, (11, 7)),
    Sample("v1-chat-error-event.sse", V1_CHAT, (FLOOR, 1), exact=False, complete=False, failed=True),
    Sample("v1-chat-failed.sse", V1_CHAT, (FLOOR, 2), exact=False, complete=False),
    Sample("v1-chat-null-usage.sse", V1_CHAT, (11, 7)),
    Sample("v1-chat-reasoning-tools.sse", V1_CHAT, (11, 7)),
    Sample("v1-chat-unended.sse", V1_CHAT, (11, 7)),
    Sample("real-v1-completions.sse", V1_COMPLETIONS, (2, 12)),
    Sample("scripted-v1-completions.sse", V1_COMPLETIONS, (2, 12)),
    Sample("v1-embeddings.json", V1_EMBED, (8, 0)),
    Sample("real-v1-messages.json", V1_MESSAGES, (38, 12)),
    Sample("real-v1-messages.sse", V1_MESSAGES, (38, 12)),
    Sample("scripted-v1-messages.sse", V1_MESSAGES, (4, 12)),
    Sample("v1-messages-about-counts.sse", V1_MESSAGES, (11, 7)),
    Sample("v1-messages-broken-off.sse", V1_MESSAGES, (FLOOR, 2), exact=False, complete=False),
    Sample("v1-messages-error.sse", V1_MESSAGES, (FLOOR, 1), exact=False, complete=False, failed=True),
    Sample("v1-messages-estimate.sse", V1_MESSAGES, (11, 7)),
    Sample("v1-responses.json", V1_RESPONSES, (19, 4)),
    Sample("v1-responses.sse", V1_RESPONSES, (19, 4)),
    Sample("v1-responses-broken-off.sse", V1_RESPONSES, (FLOOR, 3), exact=False, complete=False),
    Sample("v1-responses-failed.sse", V1_RESPONSES, (FLOOR, 1), exact=False, complete=False, failed=True),
    Sample("v1-responses-only-loaded.sse", V1_RESPONSES, (0, 0)),
    Sample("v1-responses-reasoning-tools.sse", V1_RESPONSES, (88, 31)),
    Sample("v1-transcription.json", V1_TRANSCRIPTIONS, (FLOOR, 3), exact=False),
    Sample("v1-transcription.txt", V1_TRANSCRIPTIONS, (FLOOR, 3), exact=False),
)
CHUNKS = tuple(one for one in SAMPLES if one.name.endswith(".sse") and one.path in (V1_CHAT, V1_COMPLETIONS))
"""The streams in which usage may have to be hidden."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that a meter lets out."""

    shown: bytes
    usage: Usage
    complete: bool
    failed: bool


def seen(meter: Meter, *pieces: bytes) -> Seen:
    shown = b"".join([meter.feed(piece) for piece in pieces]) + meter.end()
    return Seen(shown, meter.usage, meter.complete, meter.failed)


def cut(content: bytes, *places: int) -> list[bytes]:
    ends = sorted({0, *places, len(content)})
    return [content[begin:end] for begin, end in pairwise(ends)]
