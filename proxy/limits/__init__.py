"""May they ask now?

A call asks for a place with a ``Claim`` over every ``Account`` that its caller has a share in, and gets it from all of
them or from none. Before the call an upper estimate is set aside; afterwards the truth is settled.

``accounts`` says which accounts a call is counted on, ``bucket`` is the arithmetic, ``windows`` are days and months,
``verdict`` what follows from a state, ``fields`` how an answer tells it: all pure. A ``Store`` keeps the states:
``memory`` in this process, ``redis`` for several; ``guard`` stands between the two while Redis is in trouble.
``limiter`` is what the story meets, ``strangers`` what those meet who have not said who they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from proxy.errors import StoreFailed as StoreFailed  # What every store raises.
from proxy.vocabulary import Level, Limits

QUOTAS = ("tokens_per_day", "tokens_per_month", "gpu_seconds_per_day")
"""The limits that last for a day or a month."""


@dataclass(frozen=True)
class Account:
    """What is counted together: one subject's calls at one level, for all models or for those of one pattern.

    It has no slots, so that what follows from it is found once and not for each call.
    """

    level: Level
    subject: str
    """The key's id, the user, the team; empty for everybody."""
    limits: Limits
    place: str = ""
    """Accounts of one place are decided upon together: ``team NAME``, or of who has none ``user NAME``; empty:
    everybody's. In a Redis Cluster it is the hash slot."""
    models: str = ""
    """The canonical pattern of the models whose calls count; empty: all of them."""
    shadow: bool = False
    """Nobody is refused on its account, only told of in the log."""
    time_zone: str = "UTC"

    @property
    def team(self) -> str | None:
        """The team in which they call: what a user does in another one is counted apart."""
        kind, _, name = self.place.partition(" ")
        return name if kind == "team" else None

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.name, self.limits, self.shadow, self.time_zone))

    @cached_property
    def name(self) -> tuple[str, str, str, str]:
        """By which stores know it."""
        return (self.place, self.level, self.subject, self.models)

    @cached_property
    def quotas(self) -> frozenset[str]:
        """The names of those it has."""
        return frozenset(name for name in QUOTAS if getattr(self.limits, name) is not None)

    @cached_property
    def most_at_once(self) -> int | None:
        """The most tokens that one call can ever ask for and not be refused; None where there is no limit."""
        return None if self.shadow else self.limits.most_at_once


@dataclass(frozen=True, slots=True)
class Claim:
    """What a call wants set aside before it may begin."""

    id: str
    """Never used twice, so that what carries it is done once only."""
    accounts: tuple[Account, ...]
    most_tokens: int = 0
    """An upper estimate of what it will cost."""
    least_tokens: int = 0
    """What it is charged when nobody is left to tell what it cost."""


class State(NamedTuple):
    """What is used of one account's limits at one moment, never below zero."""

    requests: int = 0
    """In sixty-millionths of a request, see ``bucket``."""
    tokens: int = 0
    """In sixty-millionths of a token."""
    concurrent: int = 0
    day_tokens: int = 0
    month_tokens: int = 0
    day_gpu_ms: int = 0
    """Milliseconds."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on two clocks, in microseconds."""

    steady: int
    """For buckets and leases."""
    wall: int
    """Since the Unix epoch, for days and months."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a claim."""

    admitted: bool
    """False: nothing was set aside anywhere."""
    moment: Moment
    claim: Claim
    """As it was decided upon: on the accounts that were asked, or on this gate's share of them, or on none where
    nobody keeps count."""
    states: tuple[State, ...] = ()
    """Of each of its accounts, before anything was set aside."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call cost in the end."""

    tokens: int = 0
    gpu_ms: int = 0


class Store(Protocol):
    """Keeps what is used of every account. A lease that is not renewed ends, and its call is charged its least."""

    async def reserve(self, claim: Claim) -> Decision:
        """Set aside on every account, or on none; one that is in shadow and would refuse takes no part.

        A request and the most tokens are charged at once, and a lease begins, which the store renews by itself until
        it is settled. Where whoever asks is cancelled meanwhile, nothing stays set aside. Raises StoreFailed.
        """

    def settle(self, claim: Claim, cost: Cost) -> None:
        """End the lease and charge the truth in place of the estimate: at once, or as soon as the store can be reached.

        A second time, or after the lease has ended by itself, it changes nothing.
        """

    async def look(self, accounts: Sequence[Account]) -> tuple[Moment, tuple[State, ...]]:
        """How things stand, and when. Changes nothing. Raises StoreFailed."""

    async def reset(self, accounts: Sequence[Account]) -> None:
        """Nothing is used any more, but by the calls that are under way. Raises StoreFailed."""
