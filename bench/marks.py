"""What the gate has to reach, and whether it did. Nothing in this module measures anything."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from bench.figures import Figure, Sheet, said
from bench.gates import ALL, ALL_IN_REDIS
from bench.groups import calls, memory, start, streams, workers
from bench.peers import AIOHTTP, CADDY, LITELLM, NGINX

CLIENTS = 32
"""Of the marks of CPU per call."""

Sheets = Mapping[str, Sheet]
Look = Callable[[Sheets], float | None]


@dataclass(frozen=True, slots=True)
class Mark:
    """One of them."""

    name: str
    wanted: str
    measured: float | None
    """None where it was not."""
    met: bool | None
    """None where nobody knows."""

    def written(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"name": self.name, "wanted": self.wanted, "measured": self.measured, "met": self.met}


def _ratio(sheet: str, name: str, one: str, other: str) -> Look:
    def look(sheets: Sheets) -> float | None:
        found = _figure(sheets, sheet, name)
        return found.ratio(one, other) if found else None

    return look


def _value(sheet: str, name: str, column: str = ALL) -> Look:
    def look(sheets: Sheets) -> float | None:
        found = _figure(sheets, sheet, name)
        return found.median(column) if found else None

    return look


def _figure(sheets: Sheets, sheet: str, name: str) -> Figure | None:
    figures = sheets[sheet].figures if sheet in sheets else ()
    return next((one for one in figures if one.name == name), None)


_CALL = calls.cpu(CLIENTS)
_MARKS: tuple[tuple[str, bool, float, str, Look], ...] = (
    (f"CPU per call, {CLIENTS} clients, to Caddy", True, 0.6, "times", _ratio("calls", _CALL, ALL, CADDY)),
    (f"CPU per call, {CLIENTS} clients, to aiohttp", True, 0.45, "times", _ratio("calls", _CALL, ALL, AIOHTTP)),
    (f"CPU per call, {CLIENTS} clients, to nginx", True, 6.0, "times", _ratio("calls", _CALL, ALL, NGINX)),
    (
        f"the same, limits in Redis, {CLIENTS} clients, to Caddy",
        True,
        0.9,
        "times",
        _ratio("calls", _CALL, ALL_IN_REDIS, CADDY),
    ),
    ("CPU per event of a stream, to nginx", True, 1.1, "times", _ratio("streams", streams.CPU_SSE, ALL, NGINX)),
    ("added p50 at one client", True, 0.5, "ms", _value("latency", calls.latency(50, 1))),
    ("added p99 of an event, 64 streaming clients", True, 5.0, "ms", _value("waits", streams.PACED[99])),
    ("added p99 of a first byte, 64 streaming clients", True, 5.0, "ms", _value("waits", streams.PACED_FIRST)),
    (f"CPU per call of LiteLLM, {CLIENTS} clients", False, 100.0, "times", _ratio("calls", _CALL, LITELLM, ALL)),
    (
        "calls per second of 2 workers, to 1",
        False,
        1.7,
        "times",
        _ratio("workers", workers.RATE, workers.TWO, workers.ONE),
    ),
    (
        "the same on cores of their own",
        False,
        1.7,
        "times",
        _ratio("workers", workers.OWN_CORES, workers.TWO, workers.ONE),
    ),
    ("memory per open idle stream", True, 20.0, "KB", _value("memory", memory.PER_STREAM)),
    ("start to first answer", True, 1000.0, "ms", _value("start", start.START)),
    ("resident memory, idle", True, 70.0, "MB", _value("start", start.MEMORY)),
)
"""A name, whether it is the most or the least, how much, its unit, and where it is looked up."""


def marks(sheets: Sheets) -> list[Mark]:
    """All of them, by what is on the sheets."""
    found = []
    for name, at_most, wanted, unit, look in _MARKS:
        measured = look(sheets)
        met = None if measured is None else measured <= wanted if at_most else measured >= wanted
        found.append(Mark(name, f"{'at most' if at_most else 'at least'} {wanted:g} {unit}", measured, met))
    return found


def drawn(found: list[Mark]) -> Table:
    """For the terminal."""
    table = Table(title="Marks, all features on, one worker where nothing else is said", title_justify="left")
    for heading in ("mark", "wanted", "measured", "met"):
        table.add_column(heading, justify="right" if heading == "measured" else "left")
    for mark in found:
        met = {True: "yes", False: "no", None: "not measured"}[mark.met]
        table.add_row(mark.name, mark.wanted, said(mark.measured), met)
    return table
