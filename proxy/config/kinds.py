"""Kinds of values that many settings are of, and how people may write them."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from proxy.config import written
from proxy.vocabulary import zone_named

_DIGITS = re.compile("[0-9]{1,18}")
# Names that begin small are no zones but files beside them: the machine's own, leap seconds, the zones with them.
_GUESSES = (
    *("changeme", "changeit", "changethis", "replaceme", "placeholder", "example", "password", "passwd", "passw0rd"),
    *("secret", "yourpassword", "yoursecret", "mypassword", "todo", "redacted"),
)
_PLACEHOLDERS = ("changeme", "change-me", "change_me", "placeholder", "example", "password", "secret", "your-", "your_")


def written_as(parse: Callable[[str], float]) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError("should be a number or a text with a unit")
        if isinstance(value, float) and not (math.isfinite(value) and 0 <= value < 1e12):
            raise ValueError("should be an ordinary number, not below zero")
        return parse(str(value))

    return read


def expanded(path: Path) -> Path:
    """With the home in the place of a ``~`` that it begins with. Raises ValueError where there is no such home."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("begins with a home that this machine does not know") from None


def lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def listed(value: Any) -> Any:
    """A variable of the environment holds one text: a JSON list, or names with commas between them."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (json.JSONDecodeError, RecursionError):
            raise ValueError("looks like a JSON list but is none") from None
    names = [name.strip() for name in value.split(",")]
    if not all(names):
        raise ValueError("has an empty name in it; an empty list is written []")
    return names


def whole(most: int) -> BeforeValidator:
    """A number of things, one at the least. A variable of the environment holds it as text."""

    def read(value: Any) -> int:
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise ValueError(f"should be a whole number from 1 to {most}")
        return value

    return BeforeValidator(read)


def is_placeholder(secret: str) -> bool:
    return any(word in secret.lower() for word in _PLACEHOLDERS)


def is_guessable(password: str) -> bool:
    """Whether a password is one of those that stand in examples. It may hold such a word, and it may be short."""
    bare = password.lower().strip("<>[]{}$*_-. ")
    return bare.replace("_", "").replace("-", "") in _GUESSES or (bool(password) and set(password.lower()) <= set("x*"))


TimeZone = Annotated[str, AfterValidator(lambda name: zone_named(name).key)]
Seconds = Annotated[float, BeforeValidator(written_as(written.seconds))]
Octets = Annotated[int, BeforeValidator(written_as(written.size))]
