"""What a call costs, written into its entry when it ends: prices that change later change no line. No I/O.

Costs are plain floating-point numbers and are not rounded: of a call they are small, and only sums are shown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.vocabulary import Usage

TOKENS = 1_000_000
"""For so many a price is told."""
SECONDS = 3600
"""In the hour of a watt-hour."""

MOST_KNOWN = 1000
"""Names of models of which it is remembered what they cost; a caller may think of any number."""

Covers = Callable[[str, str], bool]
"""Whether a pattern covers the model of this name; ValueError where that names no model: it is a caller's own text."""


class Costs(NamedTuple):
    """Of one call; each is None where nobody has said what it depends on."""

    cost: float | None = None
    elsewhere: float | None = None
    """What as many tokens would have cost at the reference price."""
    watt_hours: float | None = None


@dataclass(frozen=True, slots=True)
class Prices:
    """What is known of costs at this moment, in one currency."""

    covers: Covers
    models: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """By pattern, in the form in which ``covers`` takes it: what a million tokens of prompts cost, of answers, and what
    a GPU second does."""
    reference: tuple[float, float] | None = None
    """What a million tokens of prompts and of answers cost elsewhere; None where nobody has said."""
    watts: float | None = None
    """What the GPU draws while it works; None where nobody has said."""
    _known: dict[str, tuple[float, float, float] | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Prices by the names of models that were asked for: to look through all patterns takes longer."""

    def of(self, model: str | None, usage: Usage, gpu_seconds: float) -> Costs:
        """A price is that of the model: a call that names none has no cost, and one that came to nothing costs 0."""
        price = self._price_of(model) if self.models else None
        reference = self.reference if model is not None else None
        return Costs(
            None if price is None else _of_tokens(usage, price[0], price[1]) + gpu_seconds * price[2],
            None if reference is None else _of_tokens(usage, *reference),
            None if self.watts is None else self.watts * gpu_seconds / SECONDS,
        )

    def _price_of(self, model: str | None) -> tuple[float, float, float] | None:
        """That of the most specific pattern which covers the model: fewest wildcards, then the longest, then the first;
        None where there is none."""
        if model is None:
            return None
        if model not in self._known:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[model] = self._looked_up(model)
        return self._known[model]

    def _looked_up(self, model: str) -> tuple[float, float, float] | None:
        try:
            patterns = [one for one in self.models if self.covers(one, model)]
        except ValueError:
            return None
        best = min(patterns, key=lambda one: (one.count("*"), -len(one)), default=None)
        return None if best is None else self.models[best]


def _of_tokens(usage: Usage, prompt: float, completion: float) -> float:
    return (usage.prompt_tokens * prompt + usage.completion_tokens * completion) / TOKENS
