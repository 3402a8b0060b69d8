"""What is told of calls while they go on. No I/O."""

import enum
from dataclasses import dataclass


class Stage(enum.StrEnum):
    """How far a call is. What Ollama does before it begins to answer it does not tell."""

    ARRIVING = "arriving"
    """It is still being read, or not let in yet."""
    WAITING = "waiting"
    """It waits for the answer to begin: others are before it, the model is loaded, or reads the prompt."""
    ANSWERING = "answering"


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What is told of a call while it goes on: nothing of what was asked and answered."""

    id: str
    user: str
    team: str | None
    key_id: str
    endpoint: str
    model: str | None
    stage: Stage
    seconds: float
    """Since it began."""
    prompt_tokens: int
    completion_tokens: int
    """So far, at the least, as are those of the prompt."""
    bytes_out: int
