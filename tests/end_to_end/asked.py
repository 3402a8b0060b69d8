"""What several clients ask alike."""

from typing import Literal

from pydantic import BaseModel

HELLO = "Say hello."
ANIMAL = "An animal."
WEATHER = "What is the weather in Paris?"
PIXEL = "iVBORw0KGgo="
"""Enough of a picture to be refused."""
BLIND = "does not support vision"
"""How Ollama refuses it, for a model that has no eyes."""


class Animal(BaseModel):
    """An animal."""

    kind: Literal["cat", "dog"]
    legs: int


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"It is sunny in {city}."
