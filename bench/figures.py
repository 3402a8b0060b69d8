"""What is told in the end. Nothing in this module measures anything."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.table import Table

SERVERS = ("upstream", "bare", "gate")


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that so many percent do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: medians over the rounds; None where a server has no such figure."""

    name: str
    unit: str
    upstream: float | None
    bare: float
    gate: float
    rounds: dict[str, list[float]]

    @property
    def ratio(self) -> float | None:
        """Gate to bare; None where bare cannot be told from nothing."""
        return self.gate / self.bare if self.bare > 0 else None


def figure(name: str, unit: str, rounds: dict[str, list[float]], scale: float = 1.0) -> Figure:
    scaled = {server: [scale * value for value in values] for server, values in rounds.items()}
    middle = {server: median(values) for server, values in scaled.items()}
    return Figure(name, unit, middle.get("upstream"), middle["bare"], middle["gate"], scaled)


def table(figures: Sequence[Figure], caption: str) -> Table:
    drawn = Table(caption=caption, caption_justify="left")
    drawn.add_column("median over rounds", no_wrap=True)
    for head in ("upstream alone", "bare", "gate", "gate / bare", "unit"):
        drawn.add_column(head, justify="left" if head == "unit" else "right")
    for each in figures:
        values = (each.upstream, each.bare, each.gate)
        ratio = "-" if each.ratio is None else f"{each.ratio:.2f}"
        drawn.add_row(each.name, *("-" if value is None else f"{value:,.2f}" for value in values), ratio, each.unit)
    return drawn


def written(figures: Sequence[Figure], about: dict[str, Any]) -> dict[str, Any]:
    """For ``--json``."""
    return {**about, "figures": [{**asdict(each), "ratio": each.ratio} for each in figures]}
