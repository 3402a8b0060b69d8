"""OpenAI's ``/v1/audio/transcriptions`` as Ollama speaks it: a form goes in, ``{"text": …}`` or plain text comes out.

Ollama runs it as a chat inside and never tells what that cost. Its Content-Type says NDJSON although the body is one
object, and where the chat fails it answers 200 with nothing, so the answer is held and looked at before it is shown.
"""

import re

from proxy.dialects import Meter, Said, Visible
from proxy.dialects.counts import object_in, prompt_floor
from proxy.dialects.multipart import parse
from proxy.dialects.openai import OpenAIDialect
from proxy.dialects.whole import Held
from proxy.errors import NotUnderstood
from proxy.vocabulary import Ask, Endpoint, Part, Usage

KNOWN = frozenset("file model response_format language prompt temperature timestamp_granularities[] stream".split())
FILES = frozenset({"file"})
GUIDES = ("prompt", "language")
"""What Ollama writes into the prompt as it stands, whatever its length."""
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

TOKENS_PER_SECOND = 6
"""Of sound: Gemma 3n makes 6.25, and we know of no model that makes fewer."""
SAMPLES = (b"RIFF", b"fLaC", b"FORM")
"""How files begin that keep every sample: WAV, FLAC, AIFF."""
SAMPLES_PER_SECOND = 192_000
"""Bytes: 48 kHz, 16 bits, two channels. Speech is mostly recorded with far fewer, but a floor must stay below."""
COMPRESSED_PER_SECOND = 40_000
"""Bytes: MP3 at its fattest, 320 kbit/s."""

_extension = re.compile(r"\.([a-z0-9]{1,5})")


class TranscriptionDialect(OpenAIDialect):
    """``/v1/audio/transcriptions``; it refuses as the rest of OpenAI's part does."""

    def read(self, endpoint: Endpoint, said: Said) -> Ask:
        parts = parse(said.body, said.content_type, known=KNOWN, files=FILES)
        form = {part.name: part for part in parts}
        if "file" not in form:
            raise NotUnderstood("The form needs a part 'file' with the sound to be written down.", param="file")
        guides = [form[name].data for name in GUIDES if name in form]
        characters = sum(len(text.decode()) for text in guides)
        return Ask(
            endpoint,
            model=form["model"].data.decode() if "model" in form else "",
            prompt_floor=prompt_floor(characters) + sound_floor(form["file"].data),
            prompt_bytes=sum(map(len, guides)),
            parts=tuple(_renamed(part) for part in parts if part.name != "model"),
        )

    def meter(self, ask: Ask, *, streamed: bool, visible: Visible) -> Meter:
        plain = any(part.name == "response_format" and part.data == b"text" for part in ask.parts)
        return TranscriptMeter(ask.prompt_floor, plain=plain)

    def last_words(self, code: str, message: str, call_id: str) -> bytes:
        return b""  # Within an object or a text there is no room for an error; the broken end has to tell.


def sound_floor(sound: bytes) -> int:
    """Tokens that a model makes at the least of a file of sound, by its length in bytes."""
    per_second = SAMPLES_PER_SECOND if sound.startswith(SAMPLES) else COMPRESSED_PER_SECOND
    return len(sound) * TOKENS_PER_SECOND // per_second


def _renamed(part: Part) -> Part:
    """The part without the caller's word for its file: only what kind of sound it is may matter."""
    if part.filename is None:
        return part
    match = _extension.fullmatch("." + part.filename.rpartition(".")[2].lower()) if "." in part.filename else None
    return Part(part.name, part.data, "audio" + (match[0] if match else ""), part.content_type)


class TranscriptMeter:
    """Holds the answer until it has ended. Counts are never told: a floor by the length of the text, reckoned as for a
    prompt, stands for them and is not exact."""

    __slots__ = ("_held", "_length", "_plain", "_prompt_floor", "complete", "failed")

    rewrites = False
    counted = False

    def __init__(self, prompt_floor: int, *, plain: bool) -> None:
        self._prompt_floor = prompt_floor
        self._plain = plain
        self._held = Held()
        self._length = 0
        """Of the answer in bytes; once it is whole, of its text in characters."""
        self.complete = False
        self.failed = False

    def feed(self, chunk: bytes) -> bytes:
        self._length += len(chunk)
        return self._held.feed(chunk)

    def end(self) -> bytes:
        held = self._held.taken()
        if held is None:
            self.complete = True  # Too long to be looked into; its framing was whole, and that must do.
            return b""
        if self._plain:
            self._length = len(held.decode(errors="replace"))
            self.complete = bool(held.strip())
        else:
            self._look_into(held)
        return held if self.complete else b""

    def _look_into(self, held: bytes) -> None:
        answer = object_in(held) or {}
        if isinstance(text := answer.get("text"), str):
            self._length = len(text)
            self.complete = True
        self.failed = bool(answer.get("error"))

    @property
    def content_type(self) -> str:
        return TEXT if self._plain else JSON

    @property
    def usage(self) -> Usage:
        return Usage(self._prompt_floor, prompt_floor(self._length), exact=False)
