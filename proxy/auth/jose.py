"""How signed tokens and the keys to them are written down, RFC 7515 and 7517, read so that nothing has two readings.

Nothing in this module does I/O.
"""

import base64
import binascii
import json
import math
import re
from typing import Any, NoReturn

SEGMENT = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
DEEPEST = 16
"""Levels of nesting; Keycloak's tokens have four, discovery documents two."""
MOST_DIGITS = 20
"""Of an integer: what 64 bits hold."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""Possessive, and content with a string that never ends: so no text is gone through twice."""
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Unreadable(ValueError):
    """Not what it should be. The message quotes nothing of it."""


def unbase64url(text: str) -> bytes:
    """The bytes behind base64url without padding, RFC 7515 §2.

    Raises Unreadable, also where bits are set that no byte is made of: else several texts would be the same bytes.
    """
    if SEGMENT.fullmatch(text) is None:
        raise Unreadable("not base64url")
    try:
        found = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise Unreadable("not base64url") from error
    if base64.urlsafe_b64encode(found).rstrip(b"=") != text.encode("ascii"):
        raise Unreadable("not base64url as it is written")
    return found


def read_object(text: bytes) -> dict[str, Any]:
    """The JSON object: UTF-8 without a byte order mark, no name twice, bounded depth and numbers. Raises Unreadable."""
    _bounded(text)
    try:
        found = _DECODER.decode(text.decode("utf-8"))
        if _SURROGATE.search(text):
            json.dumps(found, ensure_ascii=False).encode("utf-8")  # Only a surrogate without its twin fails here.
    except Unreadable:
        raise
    except (ValueError, RecursionError) as error:  # Unicode's errors are ValueErrors too.
        raise Unreadable("not JSON") from error
    if not isinstance(found, dict):
        raise Unreadable("not a JSON object")
    return found


def _bounded(text: bytes) -> None:
    if text.count(b"{") + text.count(b"[") <= DEEPEST:
        return
    depth = 0
    for bracket in _STRING.sub(b"", text).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            raise Unreadable(f"nested more than {DEEPEST} levels deep")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("a name stands there twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise Unreadable("an integer is too long")
    return int(digits)


def _fraction(digits: str) -> float:
    found = float(digits)
    if not math.isfinite(found):
        raise Unreadable("a number is too large")
    return found


def _no_constant(_: str) -> NoReturn:
    raise Unreadable("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_once, parse_int=_integer, parse_float=_fraction, parse_constant=_no_constant
)
