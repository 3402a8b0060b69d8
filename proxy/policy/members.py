"""JSON texts taken apart and put together again, so that what nobody changes keeps its bytes.

The texts have been read strictly before: JSON, shallow, no member twice. Nothing in this module does I/O.
"""

import json
import re
from typing import Any

from proxy.errors import NotUnderstood

_SPACE = re.compile(r"[ \t\r\n]*")
_WHOLE = re.compile(rb"-?(?:0|[1-9][0-9]*)")
_MOST_DIGITS = 18
_MOST_PIECES = 1000  # Nobody has as many options or tools, and each takes a turn here.
_decoder = json.JSONDecoder()


def value(text: bytes) -> Any:
    """The value as Python has it."""
    return json.loads(text)


def whole(text: bytes) -> int | None:
    """An integer, or None where the text is no integer for Go: 10.0 and 1e3 are none. Very large ones are cut short."""
    if not _WHOLE.fullmatch(text := text.strip()):
        return None
    sign, digits = (-1, text[1:]) if text.startswith(b"-") else (1, text)
    return sign * (int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS)


def is_nothing(text: bytes) -> bool:
    """Whether it is ``null``, which Go takes for absent."""
    return text.strip() == b"null"


def object_of(text: bytes) -> dict[str, bytes] | None:
    """The members of an object, each value's bytes as they were; None where it is no object."""
    pieces = _pieces(text.decode(), "{}")
    return None if pieces is None else dict(pieces)


def list_of(text: bytes) -> list[bytes] | None:
    """The entries of a list, each one's bytes as they were; None where it is no list."""
    pieces = _pieces(text.decode(), "[]")
    return None if pieces is None else [entry for _, entry in pieces]


def list_from(entries: list[bytes]) -> bytes:
    """The list that has exactly these entries."""
    return b"[" + b",".join(entries) + b"]"


def _pieces(text: str, brackets: str) -> list[tuple[str, bytes]] | None:
    """Name (empty in a list) and text of whatever stands between the brackets."""
    at = _past(text, 0)
    if text[at : at + 1] != brackets[0]:
        return None
    pieces = []
    at = _past(text, at + 1)
    while text[at] != brackets[1]:
        name = ""
        if brackets == "{}":
            name, at = _decoder.raw_decode(text, at)
            at = _past(text, _past(text, at) + 1)
        _, end = _decoder.raw_decode(text, at)
        pieces.append((name, text[at:end].encode()))
        at = _past(text, end)
        if len(pieces) > _MOST_PIECES:
            raise NotUnderstood(f"A list or object that holds at most {_MOST_PIECES} entries holds more.")
        if text[at] == ",":
            at = _past(text, at + 1)
    return pieces


def _past(text: str, at: int) -> int:
    return at + len(_SPACE.match(text, at)[0])  # type: ignore[index]  # It matches the empty text too.
