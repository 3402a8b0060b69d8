"""What Go's ``encoding/json`` finds in a body, for tests that ask whether it finds anything else than was checked.

Written from the package's documentation and from what it was seen to do, and with nothing of the gate in it.
"""

import json
from collections.abc import Mapping
from typing import Any


class NotForGo(ValueError):
    """Go answers with an error, and Ollama with a 400."""


Shape = Mapping[str, Any] | None
"""The fields of a struct with each one's own shape; None for what is taken as it comes."""


class ListOf(dict[str, Any]):
    """The shape of a list whose entries are such structs."""


class Loose(dict[str, Any]):
    """The shape of a map from names to anything: names are matched to the letter, and two maps are merged."""


# What ``bytes.EqualFold`` of simple folding adds to ASCII: the long s and the Kelvin sign.
_FOLDED = {"\u017f": "s", "\u212a": "k"}


def folded(name: str) -> str:
    return "".join(_FOLDED.get(letter, letter.lower() if letter.isascii() else letter) for letter in name)


def decode(body: bytes, shape: Shape) -> Any:
    """The struct after ``json.NewDecoder(body).Decode(&it)``: one value is read, the rest is never looked at."""
    text = body.decode("utf-8", errors="replace")
    if text.startswith("\ufeff"):
        raise NotForGo("a byte order mark")
    text = text.lstrip(" \t\r\n")
    try:
        pairs, _ = json.JSONDecoder(object_pairs_hook=_Pairs, parse_constant=_none_such).raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise NotForGo from error
    if pairs is None:
        return {}
    if not isinstance(pairs, _Pairs):
        raise NotForGo("no object")
    return _into({}, pairs, shape)


class _Pairs(list[tuple[str, Any]]):
    """An object with every member that it has, in order."""


def _none_such(_: str) -> None:
    raise NotForGo("no such number")


def _into(held: Any, said: Any, shape: Shape) -> Any:
    """What is held after one more value has been read into it."""
    if said is None:
        return held  # It leaves a struct, a number, a text and a bool as they are.
    if isinstance(shape, ListOf):
        return [_into({}, one, dict(shape)) for one in said] if isinstance(said, list) else _replaced(said)
    if not isinstance(said, _Pairs) or shape is None:
        return _replaced(said)
    result = dict(held) if isinstance(held, dict) else {}
    for name, value in said:
        if isinstance(shape, Loose):
            result[name] = _replaced(value)
        elif (field := _field(name, shape)) is not None:
            became = _into(result.get(field), value, shape[field])
            if became is not None:
                result[field] = became
    return result


def _field(name: str, shape: Mapping[str, Any]) -> str | None:
    """The field of that very name, else the first that is equal blind to case."""
    if name in shape:
        return name
    return next((field for field in shape if folded(field) == folded(name)), None)


def _replaced(said: Any) -> Any:
    match said:
        case _Pairs():
            return {_text(name): _replaced(value) for name, value in said}
        case list():
            return [_replaced(one) for one in said]
        case str():
            return _text(said)
    return said


def _text(said: str) -> str:
    """Half a surrogate is replaced."""
    return "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in said)
