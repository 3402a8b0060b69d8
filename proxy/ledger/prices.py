"""What a call costs, frozen into its entry when it ends: prices that change later change no line. No I/O.

Costs are plain floating-point numbers and are not rounded: of a call they are small, and only sums are shown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from proxy.vocabulary import Entry

TOKENS = 1_000_000
"""For so many a price is told."""
SECONDS = 3600
"""In the hour of a watt-hour."""

MOST_KNOWN = 1000
"""Names of models of which it is remembered what they cost; a caller may think of any number."""

Covers = Callable[[str, str], bool]
"""Whether a pattern covers the model of this name; ValueError where that names no model: it is a caller's own text."""


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

    def priced(self, entry: Entry) -> Entry:
        """The entry with its ``cost``, what it would have cost ``elsewhere``, and its ``watt_hours``.

        A price is that of the model: a call that names none has neither cost, and one that came to nothing costs 0.
        """
        if not self.models and self.reference is None and self.watts is None:
            return entry
        price = self._price_of(entry.model)
        reference = self.reference if entry.model is not None else None
        return replace(
            entry,
            cost=_of_tokens(entry, *price[:2]) + entry.gpu_seconds * price[2] if price is not None else None,
            elsewhere=_of_tokens(entry, *reference) if reference is not None else None,
            watt_hours=self.watts * entry.gpu_seconds / SECONDS if self.watts is not None else None,
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


def _of_tokens(entry: Entry, prompt: float, completion: float) -> float:
    return (entry.usage.prompt_tokens * prompt + entry.usage.completion_tokens * completion) / TOKENS
