"""The nouns: every value that crosses a border between two folders.

All are frozen and hold standard-library types only, so that any folder may import them and none needs another.
"""

import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

Clock = Callable[[], float]
"""Seconds on a monotonic clock."""

Now = Callable[[], datetime]
"""The wall clock, always with a time zone."""


class Risk(enum.StrEnum):
    """What the box's owner risks by letting a caller use an endpoint; plans grant whole classes."""

    HEALTH = "health"
    READ = "read"
    INFERENCE = "inference"


class Tongue(enum.StrEnum):
    """The shape in which an endpoint is asked, answers and refuses."""

    OLLAMA = "ollama"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the table of routes: a method and a path that Ollama serves and the gate knows."""

    method: str
    path: str
    """Sent upstream as it stands here; only ``{model}`` is ever filled in, with a checked name."""
    tongue: Tongue
    risk: Risk
    names_model: bool = False
    """Whether the body (or the path) says which model is meant."""
    streams: bool | None = None
    """What an absent ``stream`` means; None where the endpoint never streams."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a caller may do. A key names one and may narrow it."""

    name: str
    grants: frozenset[Risk] = frozenset(Risk)
    models: tuple[str, ...] = ("*",)
    """Patterns over canonical model names, see ``policy.models``."""
    cloud: bool = False
    """May ask for models that Ollama would run on ollama.com, out of the house."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, however they proved it."""

    user: str
    key_id: str
    plan: Plan
    team: str | None = None
    models: tuple[str, ...] | None = None
    """The key's own narrowing of ``plan.models``; None where it has none."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came through the door, before anything is known of it."""

    id: str
    at: datetime
    method: str
    path: str
    """The raw path without its query: untrusted text, to be matched and never to be sent or logged."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Every credential that was presented, in order; more than one is a mistake."""
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a call asks for, told alike for every tongue, and the body that will be sent for it."""

    endpoint: Endpoint
    model: str = ""
    """As it was asked for, then, once it is permitted, the canonical name; empty where the endpoint names no model."""
    spelling: str = ""
    """The permitted model as it is said upstream."""
    stream: bool = False
    fields: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The body's members in order: name to JSON text, each value's bytes as the caller wrote them."""
    hides_usage: bool = False
    """The gate asked for the counts on the caller's behalf and takes them out of the answer again."""
    prompt_floor: int = 0
    """Tokens that the prompt has at the least, by its length: charged when no count ever comes."""

    @property
    def path(self) -> str:
        """What is asked upstream: the table's own constant, with the checked model where it has a place for one."""
        return self.endpoint.path.replace("{model}", self.spelling)

    @property
    def body(self) -> bytes | None:
        """What is sent upstream: written anew from what was checked, never the bytes that came in."""
        return joined(self.fields) if self.endpoint.method == "POST" else None


def joined(members: Mapping[str, bytes]) -> bytes:
    """The JSON object that has exactly these members."""
    return b"{" + b",".join(json.dumps(name).encode() + b":" + text for name, text in members.items()) + b"}"


@dataclass(frozen=True, slots=True)
class Backend:
    """A server that can answer."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost, in tokens and in seconds of the backend's own phases (None where it tells none)."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    exact: bool = True
    """False marks a floor: the caller left or the answer broke off before the counts came."""
    load_seconds: float | None = None
    prompt_seconds: float | None = None
    completion_seconds: float | None = None


class Outcome(enum.StrEnum):
    """How a call ended."""

    SERVED = "served"
    REFUSED = "refused"
    CLIENT_LEFT = "client_left"
    CLIENT_STALLED = "client_stalled"
    BACKEND_FAILED = "backend_failed"
    TRUNCATED = "truncated"
    GATE_FAILED = "gate_failed"
    """Our own mistake, or the gate was stopped under the call."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger."""

    id: str
    at: datetime
    endpoint: str
    outcome: Outcome
    status: int | None
    """What the caller was told; None where they left before hearing it."""
    reason: str | None = None
    """The code of the refusal or failure, see ``errors``."""
    user: str | None = None
    team: str | None = None
    key_id: str | None = None
    plan: str | None = None
    model: str | None = None
    stream: bool = False
    usage: Usage = Usage()
    first_byte_seconds: float | None = None
    total_seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    peer: str = ""
