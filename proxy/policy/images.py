"""Where the pictures and sounds of a request are, and how large. Nothing in this module does I/O.

Ollama takes them inside the body only. Below the top level Go still matches names blind to case, so this does too.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.errors import KnobRefused
from proxy.policy import members
from proxy.vocabulary import Tongue

PLACES: Mapping[Tongue, tuple[str, ...]] = {
    Tongue.OLLAMA: ("images", "messages"),
    Tongue.OPENAI: ("messages",),
    Tongue.RESPONSES: ("input",),
    Tongue.ANTHROPIC: ("messages",),
}
"""The members of a body that can hold any."""

_HINTS = (b"image", b"audio", b"\\u")  # An escape could spell the others.


def sizes(tongue: Tongue, fields: Mapping[str, bytes]) -> list[int]:
    """How many bytes each one has, by the length of its base64. Raises KnobRefused for one that would be fetched."""
    found: list[int] = []
    for place in PLACES.get(tongue, ()):
        text = fields.get(place, b"")
        if place == "images" and text:
            found += _bytes_of(members.value(text))
        elif _may_hold_any(text):
            for block in _blocks(members.value(text)):
                found += _of(tongue, block, place)
    return found


def _may_hold_any(text: bytes) -> bool:
    lower = text.lower()  # A megabyte takes two milliseconds so; with a pattern that is blind to case it took fifteen.
    return any(hint in lower for hint in _HINTS)


def _of(tongue: Tongue, block: Mapping[str, Any], place: str) -> Iterator[int]:
    """The sizes of what one message or part of a message holds itself."""
    match tongue:
        case Tongue.OLLAMA:
            for images in _under(block, "images"):
                yield from _bytes_of(images)
        case Tongue.ANTHROPIC if "image" in _under(block, "type"):
            for source in _under(block, "source"):
                if any(kind != "base64" for kind in _under(source, "type") if isinstance(kind, str)):
                    raise _fetched(place)
                yield from _bytes_of(_under(source, "data"))
        case Tongue.OPENAI | Tongue.RESPONSES:
            for image in _under(block, "image_url"):
                for url in _under(image, "url") if isinstance(image, dict) else [image]:
                    if not isinstance(url, str):
                        continue
                    head, _, data = url.partition(",")
                    if not head.startswith("data:"):
                        raise _fetched(place)
                    yield _size(data)
            for sound in _under(block, "input_audio"):
                yield from _bytes_of(_under(sound, "data"))


def _blocks(node: Any) -> Iterator[dict[str, Any]]:
    """Messages, the parts of their content, and what a tool answered within those."""
    for block in node if isinstance(node, list) else ():
        if isinstance(block, dict):
            yield block
            for inner in (*_under(block, "content"), *_under(block, "output")):
                yield from _blocks(inner)


def _under(node: Any, name: str) -> list[Any]:
    if not isinstance(node, dict):
        return []
    return [inner for spelling, inner in node.items() if spelling.casefold() == name]


def _bytes_of(node: Any) -> list[int]:
    """Go takes a list of numbers for bytes too."""
    entries = node if isinstance(node, list) else []
    return [_size(one) if isinstance(one, str) else len(one) for one in entries if isinstance(one, str | list)]


def _size(base64: str) -> int:
    return len(base64.rstrip("=")) * 3 // 4


def _fetched(place: str) -> KnobRefused:
    return KnobRefused(
        "Images are not fetched from elsewhere: send each one inside the request, as base64 or a data: URL.",
        param=place,
    )
