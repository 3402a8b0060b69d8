"""What is common to all meters: reading what a backend says, between which bounds its counts are believed, and what a
call costs at the least while none have come.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from proxy.vocabulary import Ask, Tongue, Usage

MOST_TOKENS = 10**9
"""No answer has more."""
MOST_SECONDS = 10**8
"""Three years; a duration beyond is none."""

PER_RECKONED_TOKEN = 16
"""Tokens that a prompt has at the most for each that it was taken to have (``Ask.prompt_most``: one for three bytes of
text, 1,600 for a picture). That is five for a byte, where no tokenizer we know makes more than one of what it reads and
none makes a text six times as long before (Arabic ligatures, taken apart); and 25,600 for a picture, where Qwen's
largest has 16,384."""
UNSEEN = 65_536
"""Tokens that a Modelfile's system prompt and messages add, which no request shows."""
OVERSHOOT = 64
"""Tokens beyond its limit that an answer may have: one where an engine looks after the token, and as many as a draft
model guesses ahead."""
ROUNDS = 4
"""How often Ollama asks the model for one answer, where it may search the web in between: it adds the counts up."""
SEARCHING = (Tongue.RESPONSES, Tongue.ANTHROPIC)
AROUND_A_MESSAGE = len('{"role":"user","content":""},')
ESCAPED = len("\\u00e9") - 1
LONGEST_WORD = 512
"""Letters without a space between them, beyond which they are no text."""
_IN_BASE64 = bytes(chr(code).isascii() and (chr(code).isalnum() or chr(code) in "+/=_-") for code in range(256))
_NO_WORD = b"\1" * LONGEST_WORD
_WITHIN_A_CHARACTER = bytes(range(0x80, 0xC0))
"""The bytes of UTF-8 that begin none."""
CHARACTERS_PER_TOKEN = 5
"""A prompt has at least one token for so many characters: English has about four, and a floor must stay below."""


def object_in(text: bytes) -> dict[str, Any] | None:
    """The JSON object that a backend said; None where it is no such thing: a meter must not fail on what passes by."""
    try:
        said = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def seconds(nanoseconds: Any) -> float | None:
    """A duration of Ollama's, told in nanoseconds and omitted when zero; None where it is no such thing."""
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
        if text := fields.get(name):
            characters += _characters(text) - AROUND_A_MESSAGE * text.count(b'"role"') - ESCAPED * text.count(b"\\u")
            if len(text) > LONGEST_WORD:
                characters -= _no_text(text)
    return prompt_floor(max(0, characters))


def length_of(fields: Mapping[str, bytes], names: Iterable[str]) -> int:
    """Bytes of these members of a body, whatever is in them: what a prompt costs at the most goes by it."""
    length = 0
    for name in names:
        if name in fields:
            length += len(fields[name])
    return length


def _characters(text: bytes) -> int:
    return len(text) if text.isascii() else len(text.translate(None, _WITHIN_A_CHARACTER))


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


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which the tokens of an answer lie, as far as the request tells."""

    prompt_floor: int = 0
    prompt_most: int = MOST_TOKENS
    completion_most: int = MOST_TOKENS


def bounds_of(ask: Ask, limit: bytes = b"null") -> Bounds:
    """Those of the answer to an ask; ``limit`` is the JSON text with which the length of its answer was limited.

    An embedding has no tokens. Where the length has no limit, or nobody has reckoned the prompt, there is no bound but
    ``MOST_TOKENS``.
    """
    rounds = ROUNDS if ask.endpoint.tongue in SEARCHING and "tools" in ask.fields else 1
    prompt = (ask.prompt_most * PER_RECKONED_TOKEN + UNSEEN) * rounds if ask.prompt_most else MOST_TOKENS
    completion = MOST_TOKENS
    if ask.endpoint.streams is None:
        completion = 0
    elif most := _whole(limit):
        completion = (most + OVERSHOOT) * rounds
    return Bounds(ask.prompt_floor, min(prompt, MOST_TOKENS), min(completion, MOST_TOKENS))


def _whole(text: bytes) -> int:
    """A whole number above zero; 0 for anything else, by which nothing is limited."""
    try:
        return max(0, msgspec.json.decode(text, type=int))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0


@dataclass(frozen=True, slots=True)
class Told:
    """What a backend said of a cost: any JSON may stand in the place of a count; None where it said nothing."""

    prompt: Any = None
    completion: Any = None
    phases: tuple[Any, ...] = (None, None, None)
    """Nanoseconds of loading, of the prompt and of the answer."""
    spoke: bool = False
    """There are words, thoughts or tool calls beside the counts."""
    idle: bool = False
    """The model was only loaded or unloaded, or its prompt only shown: counts that are left out are true zeros."""

    @property
    def says_nothing(self) -> bool:
        """Whether its counts are zeros or left out, as some streams have them on every piece but the last."""
        return all(one is None or (type(one) is int and one == 0) for one in (self.prompt, self.completion))


@dataclass(slots=True)
class Tally:
    """The count so far: a floor out of the pieces seen until the backend tells the truth, or what may pass for it.

    - A piece has at least one token. A count below the pieces seen is raised to them; one of a prompt that is zero or
      left out, though the model was asked, to the prompt's floor. Both are then no more than a floor, and not exact.
    - A count beyond its bound is cut to it. One that is negative, no whole number, or lower than the same answer had it
      before counts as not told. Each of these makes the usage suspicious, and a suspicious one is never exact.
    - If one duration cannot be, none of them is believed: then the gate's own measure of the time stands for them.
    """

    bounds: Bounds
    pieces: int = 0
    """Seen so far, each with one token at the least."""
    _prompt: int = 0
    _completion: int = 0
    _phases: tuple[float | None, ...] = (None, None, None)
    is_told: bool = False
    """Whether the backend has said a count."""
    _usage: Usage | None = None
    """What was reckoned last, as long as nothing has come since."""
    _is_idle: bool = False
    _lies: bool = False

    def tell(self, told: Told) -> None:
        self._usage = None
        self.is_told, self._is_idle = True, told.idle
        self.pieces = max(self.pieces, int(told.spoke))
        self._prompt = self._heard(told.prompt, self._prompt)
        self._completion = self._heard(told.completion, self._completion)
        phases = tuple(map(seconds, told.phases))
        if any(said is not None and took is None for said, took in zip(told.phases, phases, strict=True)):
            self._lies = True
            phases = (None, None, None)
        self._phases = phases

    def _heard(self, found: Any, before: int) -> int:
        if found is None:
            return before
        if not isinstance(found, int) or isinstance(found, bool) or found < before:
            self._lies = True
            return before
        return found

    @property
    def usage(self) -> Usage:
        if not self.is_told:
            return Usage(self.bounds.prompt_floor, self.pieces, exact=False)
        if self._usage is None or self._usage.completion_tokens < self.pieces:
            self._usage = self._reckoned()
        return self._usage

    def _reckoned(self) -> Usage:
        prompt, completion = self._prompt, max(self._completion, self.pieces)
        is_floor = completion > self._completion
        if not prompt and not (self._is_idle and not self.pieces):
            prompt, is_floor = self.bounds.prompt_floor, True
        most = max(self.bounds.prompt_most, self.bounds.prompt_floor), max(self.bounds.completion_most, self.pieces)
        suspicious = self._lies or prompt > most[0] or completion > most[1]
        return Usage(
            min(prompt, most[0]),
            min(completion, most[1]),
            not (is_floor or suspicious),
            suspicious,
            *self._phases,
        )
