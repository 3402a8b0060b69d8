"""What is told in the end. Nothing in this module measures anything."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.table import Table

Rounds = Mapping[str, Sequence[float]]
"""By what was measured, a value for each round."""


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that so many percent do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


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
        """None where what it is compared to cannot be told from nothing."""
        value, base = self.median(column), self.median(to)
        return None if value is None or base is None or base <= 0 else value / base


def figure(name: str, unit: str, rounds: Rounds, scale: float = 1.0) -> Figure:
    return Figure(name, unit, {column: [scale * value for value in values] for column, values in rounds.items()})


def _said(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if 0 < value < 0.1 else f"{value:,.2f}"


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is told side by side: the columns by their names, then ratios of two of them each."""

    name: str
    title: str
    columns: Mapping[str, str]
    """The headings; what has none is not drawn."""
    ratios: Mapping[str, tuple[str, str]]
    """By their headings."""
    figures: Sequence[Figure]

    def drawn(self) -> Table:
        table = Table(title=self.title, title_justify="left")
        table.add_column("median over rounds", no_wrap=True)
        for heading in (*self.columns.values(), *self.ratios):
            table.add_column(heading, justify="right")
        table.add_column("unit")
        for each in self.figures:
            values = [each.median(column) for column in self.columns]
            ratios = [each.ratio(*of) for of in self.ratios.values()]
            table.add_row(each.name, *map(_said, (*values, *ratios)), each.unit)
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
