"""What is told in the end. Nothing in this module measures anything."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.table import Table

MOST_COLUMNS = 11
"""Of figures in one table."""

Rounds = Mapping[str, Sequence[float]]
"""By what was measured, a value for each round."""


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that so many percent do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


@dataclass(slots=True)
class Notes:
    """What was measured, by figure and server, a value for each round."""

    taken: defaultdict[str, defaultdict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    calls: Counter[str] = field(default_factory=Counter)
    """By server, all that were made."""
    missing: dict[str, str] = field(default_factory=dict)
    """By what could not be measured, why."""

    def take(self, what: str, server: str, value: float) -> None:
        """One value of one round."""
        self.taken[what][server].append(value)

    def of(self, what: str, *servers: str) -> dict[str, list[float]]:
        """Of these servers, or of all, as far as there is something."""
        there: Mapping[str, list[float]] = self.taken.get(what, {})
        return {server: values for server, values in there.items() if not servers or server in servers}

    def added(self, what: str, base: str) -> dict[str, list[float]]:
        """Less what the base takes in the same round; what the base takes stands as it is."""
        there: Mapping[str, list[float]] = self.taken.get(what, {})
        own = there.get(base, [])
        less = {
            server: [value - mine for value, mine in zip(values, own, strict=False)]
            for server, values in there.items()
            if server != base
        }
        return {**less, base: list(own)} if own else {}


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: what was measured in each round, by where."""

    name: str
    unit: str
    rounds: dict[str, list[float]]

    def median(self, column: str) -> float | None:
        """Over the rounds; None where there is no such figure."""
        return median(self.rounds[column]) if self.rounds.get(column) else None

    def ratio(self, column: str, to: str) -> float | None:
        """The median of the ratios of each round, for a machine is not as fast in one round as in the next.

        Where there are not as many rounds of both it is that of the medians, and None where what it is compared to
        cannot be told from nothing.
        """
        value, base = self.median(column), self.median(to)
        if value is None or base is None or base <= 0:
            return None
        values, bases = self.rounds[column], self.rounds[to]
        if len(values) == len(bases) and min(bases) > 0:
            return median(value / base for value, base in zip(values, bases, strict=True))
        return value / base


def figure(name: str, unit: str, rounds: Rounds, scale: float = 1.0) -> Figure:
    """A row in its unit, from rounds in another."""
    return Figure(name, unit, {column: [scale * value for value in values] for column, values in rounds.items()})


def said(value: float | None) -> str:
    """A value as it stands in a table."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if 0 < abs(value) < 0.1 else f"{value:,.2f}"


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is told side by side: the columns by their names, then ratios of two of them each."""

    name: str
    title: str
    columns: Mapping[str, str]
    """The headings; what has none is not drawn, nor is what has no figures."""
    ratios: Mapping[str, tuple[str, str]]
    """By their headings."""
    figures: Sequence[Figure]

    @property
    def measured(self) -> bool:
        """Whether anything stands on it."""
        return any(values for each in self.figures for values in each.rounds.values())

    def drawn(self) -> list[Table]:
        """For the terminal: one table, or two where one would be too wide."""
        there = {column for each in self.figures for column, values in each.rounds.items() if values}
        columns = {column: heading for column, heading in self.columns.items() if column in there}
        ratios = {heading: of for heading, of in self.ratios.items() if there.issuperset(of)}
        parts = [([*columns], [*ratios])]
        if ratios and len(columns) + len(ratios) > MOST_COLUMNS:
            parts = [([*columns], []), ([], [*ratios])]
        return [self._table(those, of) for those, of in parts]

    def _table(self, columns: Sequence[str], ratios: Sequence[str]) -> Table:
        title = self.title if columns else f"{self.title}: ratios"
        table = Table(title=title, title_justify="left")
        table.add_column("median over rounds", no_wrap=True)
        for heading in (*(self.columns[column] for column in columns), *ratios):
            table.add_column(heading, justify="right")
        table.add_column("unit")
        for each in self.figures:
            values = [each.median(column) for column in columns]
            of = [each.ratio(*self.ratios[heading]) for heading in ratios]
            table.add_row(each.name, *map(said, (*values, *of)), each.unit if columns else "")
        return table

    def written(self) -> list[dict[str, Any]]:
        """For ``--json``."""
        return [
            {
                "name": each.name,
                "unit": each.unit,
                **{column: each.median(column) for column in self.columns},
                "ratios": {heading: each.ratio(*of) for heading, of in self.ratios.items()},
                "rounds": each.rounds,
            }
            for each in self.figures
        ]
