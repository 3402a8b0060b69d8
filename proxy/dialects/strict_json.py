"""JSON objects read so strictly that Go, which Ollama is written in, cannot read anything else in them.

Go matches keys blind to case (and to U+017F and U+212A), lets the last of several win or merges them, and stops at the
end of the first value. So: UTF-8 without a byte order mark, one object and nothing after it, no key twice, no NaN, no
lone surrogate, bounded depth. What passes is taken apart into its members, each with the bytes that it had.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from proxy.errors import NotUnderstood

DEEPEST = 100
"""Levels of nesting; schemas of tools seldom pass ten."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""Possessive, and content with a string that never ends: so no body is gone through twice."""
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_object(body: bytes, known: frozenset[str]) -> dict[str, bytes]:
    """The members of the object, name to JSON text, in order.

    ``known`` are the names that the server looks for: any other spelling that Go would take for one of them is refused.
    Raises NotUnderstood; its message quotes nothing.
    """
    if not body.strip(b" \t\r\n"):
        raise NotUnderstood("The request needs a JSON body.")
    _bounded(body)
    try:
        text = body.decode("utf-8")
        whole = _checker.decode(text)
        if not isinstance(whole, dict):
            raise NotUnderstood("The request body must be a JSON object.")
        if _SURROGATE.search(body):
            json.dumps(whole, ensure_ascii=False).encode("utf-8")  # Only a surrogate without its twin fails here.
        fields = {name: bytes(raw) for name, raw in _members.decode(body).items()}
    except NotUnderstood:
        raise
    except (ValueError, RecursionError) as error:  # msgspec's and Unicode's errors are ValueErrors too.
        raise NotUnderstood("The request body is not valid JSON.") from error
    for name in fields:
        if name not in known and name.casefold() in known:
            raise NotUnderstood("A member of the request body is spelled with other letters than its name has.")
    return fields


def value(fields: Mapping[str, bytes], name: str) -> Any:
    """The value of a member; None where it is absent or null."""
    return _checker.decode(fields[name].decode()) if name in fields else None


def text_of(fields: Mapping[str, bytes], name: str) -> str:
    """A member that must be a string; empty where it is absent or null. Raises NotUnderstood."""
    found = value(fields, name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise NotUnderstood(f"'{name}' must be a string.", param=name)
    return found


def flag_of(fields: Mapping[str, bytes], name: str, default: bool) -> bool:
    """A member that must be true or false. Raises NotUnderstood."""
    found = value(fields, name)
    if found is None:
        return default
    if not isinstance(found, bool):
        raise NotUnderstood(f"'{name}' must be true or false.", param=name)
    return found


def dump(value: object) -> bytes:
    """Compact JSON."""
    return msgspec.json.encode(value)


def _bounded(body: bytes) -> None:
    if body.count(b"{") + body.count(b"[") <= DEEPEST:
        return
    depth = 0
    for bracket in _STRING.sub(b"", body).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            raise NotUnderstood(f"The request body is nested more than {DEEPEST} levels deep.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotUnderstood("The request body has the same member twice.")
    return found


def _no_constant(_: str) -> NoReturn:
    raise NotUnderstood("NaN and Infinity are not JSON.")


_checker = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)
