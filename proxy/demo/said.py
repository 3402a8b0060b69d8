"""What a model has said, before it is put into the shapes of any API."""

from dataclasses import dataclass
from typing import Any

from proxy.vocabulary import Usage


@dataclass(frozen=True, slots=True)
class Call:
    """A function that the model wants called."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """A whole answer, and what it cost."""

    text: str
    reason: str
    """``stop`` or ``length``; ``load`` where nothing was asked."""
    usage: Usage
    seconds: float = 0.0
    calls: tuple[Call, ...] = ()
