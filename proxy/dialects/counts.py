"""What is common to all meters: reading what a backend says, believing its counts, and what a call costs at the least
while none have come.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from proxy.vocabulary import Usage

MOST_TOKENS = 10**9
"""No answer has more; a count beyond is no count."""
MOST_SECONDS = 10**8
"""Three years; a duration beyond is none."""
AROUND_A_MESSAGE = len('{"role":"user","content":""},')
ESCAPED = len("\\u00e9") - 1
LONGEST_WORD = 512
"""Letters without a space between them, beyond which they are no text."""
_IN_BASE64 = bytes(chr(code).isascii() and (chr(code).isalnum() or chr(code) in "+/=_-") for code in range(256))
_NO_WORD = b"\1" * LONGEST_WORD
CHARACTERS_PER_TOKEN = 5
"""A prompt has at least one token for so many characters: English has about four, and a floor must stay below."""


def object_in(text: bytes) -> dict[str, Any] | None:
    """The JSON object that a backend said; None where it is no such thing: a meter must not fail on what passes by."""
    try:
        said = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def count(found: Any) -> int:
    """A token count as a backend told it; 0 where it is no such thing (Ollama omits zeros)."""
    believable = isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= MOST_TOKENS
    return found if believable else 0


def seconds(nanoseconds: Any) -> float | None:
    """A duration of Ollama's, told in nanoseconds and omitted when zero."""
    if isinstance(nanoseconds, bool) or not isinstance(nanoseconds, (int, float)):
        return None
    return nanoseconds / 1e9 if 0 <= nanoseconds <= MOST_SECONDS * 10**9 else None


def prompt_floor(characters: int) -> int:
    return characters // CHARACTERS_PER_TOKEN


def floor_of(fields: Mapping[str, bytes], names: Iterable[str]) -> int:
    """Tokens that these members of a body have at the least, by the length of the text in them.

    Not text are images and sound, in base64; what JSON needs around a message; and all but one of an escape's letters.
    """
    characters = 0
    for name in names:
        text = fields.get(name, b"")
        characters += len(text) - _no_text(text)
        characters -= AROUND_A_MESSAGE * text.count(b'"role"') + ESCAPED * text.count(b"\\u")
    return prompt_floor(max(0, characters))


def length_of(fields: Mapping[str, bytes], names: Iterable[str]) -> int:
    """Bytes of these members of a body, whatever is in them: what a prompt costs at the most goes by it."""
    return sum(len(fields.get(name, b"")) for name in names)


def _no_text(text: bytes) -> int:
    """Bytes in words that are too long to be any."""
    marks, amount = text.translate(_IN_BASE64), 0
    at = marks.find(_NO_WORD)
    while at >= 0:
        end = marks.find(b"\x00", at)
        end = len(marks) if end < 0 else end
        amount += end - at
        at = marks.find(_NO_WORD, end)
    return amount


@dataclass(slots=True)
class Tally:
    """The count so far: a floor out of the pieces seen until the backend tells the truth."""

    prompt_floor: int
    pieces: int = 0
    told: Usage | None = None

    def tell(self, usage: Usage) -> None:
        self.told = usage

    @property
    def usage(self) -> Usage:
        if self.told is not None:
            return self.told
        return Usage(prompt_tokens=self.prompt_floor, completion_tokens=self.pieces, exact=False)
