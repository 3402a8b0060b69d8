"""Kinds of values that many settings are of, and how people may write them."""

import json
import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator

from proxy.config import written


def written_as(parse: Callable[[str], float]) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError("should be a number or a text with a unit")
        if isinstance(value, float) and not (math.isfinite(value) and 0 <= value < 1e12):
            raise ValueError("should be an ordinary number, not below zero")
        return parse(str(value))

    return read


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


Seconds = Annotated[float, BeforeValidator(written_as(written.seconds))]
Octets = Annotated[int, BeforeValidator(written_as(written.size))]
