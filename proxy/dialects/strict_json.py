"""JSON objects read so strictly that Go, which Ollama is written in, cannot read anything else in them.

Go matches keys blind to case (and to U+017F and U+212A), lets the last of several win or merges them, and stops at the
end of the first value. So: UTF-8 without a byte order mark, one object and nothing after it, no key twice, no NaN, no
lone surrogate, bounded depth. What passes is taken apart into its members, each with the bytes that it had.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

import msgspec

from proxy.errors import NotUnderstood

DEEPEST = 100
"""Levels of nesting; schemas of tools seldom pass ten."""
MOST_BRACKETS = 100_000
"""Twice the lists and objects that a body may have. Long talks have thousands; millions, which zstd makes out of a
kilobyte, would keep everybody waiting for seconds while they are read."""

MOST_VALUES = 150_000
"""Members and entries of all lists and objects together. The longest that are sent are a prompt's tokens as numbers."""
MOST_MEMBERS = 10_000
"""Of one object. It is only looked at as a whole, and meanwhile nothing else goes on."""
MOST_STRINGS = 200_000
"""About: an escaped quote is not counted, nor is one behind a text's own last backslash."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NO_SIGNS = bytes(set(range(256)) - set(b"[]{},"))
"""But for the commas between what is in them."""
_WORDS = {b"null": None, b"true": True, b"false": False}
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])

INNER = frozenset(
    """role content images tool_calls tool_name tool_call_id thinking type text image_url url detail source data
    media_type function name arguments index id call_id input output summary encrypted_content cache_control
    include_usage json_schema schema strict effort format verbosity input_audio file_data parameters
    input_schema""".split()
)
"""Names that Ollama looks for in the objects within a body."""
FREE = frozenset(
    """arguments parameters properties input_schema schema format options metadata definitions $defs files adapters
    info""".split()
)
"""Members whose own members are anybody's names, and are matched to the letter or not at all."""


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
        names = _Names()
        whole = json.JSONDecoder(
            object_pairs_hook=names.once, parse_int=_whole, parse_float=_fraction, parse_constant=_no_constant
        ).decode(text)
        if not isinstance(whole, dict):
            raise NotUnderstood("The request body must be a JSON object.")
        if _SURROGATE.search(body):
            json.dumps(whole, ensure_ascii=False).encode("utf-8")  # Only a surrogate without its twin fails here.
        fields = {name: bytes(raw) for name, raw in _members.decode(body).items()}
    except NotUnderstood:
        raise
    except (ValueError, RecursionError) as error:  # msgspec's and Unicode's errors are ValueErrors too.
        raise NotUnderstood("The request body is not valid JSON.") from error
    if _strange_names(fields, known) or (names.odd and _is_strange_within(whole)):
        raise NotUnderstood("A member of the request body is spelled with other letters than its name has.")
    return fields


def value(fields: Mapping[str, bytes], name: str) -> Any:
    """The value of a member; None where it is absent or null."""
    text = fields.get(name, b"null")
    if text in _WORDS:
        return _WORDS[text]
    return msgspec.json.decode(text) if text.startswith(b'"') else json.loads(text)  # Numbers may be of any size.


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
    brackets, commas = body.count(b"{") + body.count(b"["), body.count(b",")
    if brackets <= DEEPEST and commas < MOST_MEMBERS:
        return
    if body.count(b'"') - body.count(b'\\"') > 2 * MOST_STRINGS:
        raise NotUnderstood(f"The request body has more than {MOST_STRINGS} texts.")
    signs = b"".join(_outside_texts(body)).translate(None, _NO_SIGNS)
    commas = signs.count(b",")
    if len(signs) - commas > MOST_BRACKETS:
        raise NotUnderstood(f"The request body has more than {MOST_BRACKETS // 2} lists and objects.")
    if commas > MOST_VALUES:
        raise NotUnderstood(f"The request body has more than {MOST_VALUES} members and entries.")
    _look_into(signs)


def _outside_texts(body: bytes) -> list[bytes]:
    """What stands before, between and behind the texts. A backslash elsewhere is an error, and nobody reads on."""
    return body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]


def _look_into(signs: bytes) -> None:
    """How deep the brackets go, and how much is in one of them."""
    opened, commas = [0x5B], [0]
    for sign in signs:
        if sign == 0x2C:
            commas[-1] += 1
        elif sign in b"[{":
            opened.append(sign)
            commas.append(0)
            if len(opened) > DEEPEST + 1:
                raise NotUnderstood(f"The request body is nested more than {DEEPEST} levels deep.")
        else:
            if opened[-1] == 0x7B and commas[-1] >= MOST_MEMBERS:
                raise NotUnderstood(f"An object of the request body has more than {MOST_MEMBERS} members.")
            if len(opened) > 1:  # Else it closes what was never opened, and is no JSON.
                opened.pop()
                commas.pop()


def _strange_names(names: Collection[str], known: frozenset[str]) -> bool:
    """Whether Go would take a name for one that it is not."""
    return not known.issuperset(names) and any(name not in known and name.casefold() in known for name in names)


def _is_strange_within(found: Any) -> bool:
    """The same for the objects inside of one, down to where names are anybody's."""
    waiting = [found]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            if _strange_names(one, INNER):
                return True
            waiting += [within for name, within in one.items() if not _is_free(name, within)]
    return False


def _is_free(name: str, within: Any) -> bool:
    # Anthropic's clients say `input` for a tool's arguments; elsewhere it is a text or a list.
    return name in FREE or (name == "input" and isinstance(within, dict))


class _Names:
    """Sees to it that no object has a member twice, and remembers whether any name is not in plain small letters."""

    __slots__ = ("odd",)

    def __init__(self) -> None:
        self.odd = False

    def once(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise NotUnderstood("The request body has the same member twice.")
        names = "".join(found)
        self.odd = self.odd or not (names.islower() and names.isascii())
        return found


def _no_constant(_: str) -> NoReturn:
    raise NotUnderstood("NaN and Infinity are not JSON.")


def _whole(digits: str) -> int:
    """As the decoder itself would; but it lets other threads go on between two calls of Python code."""
    return int(digits)


def _fraction(digits: str) -> float:
    """As ``_whole``."""
    return float(digits)
