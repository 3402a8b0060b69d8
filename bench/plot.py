"""The figures as one picture of a few panels. Nothing in this module measures anything."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from bench.figures import Figure, Sheet, said
from bench.gates import ALL, ALL_IN_REDIS, FEATURES
from bench.groups import calls, growth, memory, streams
from bench.marks import CLIENTS
from bench.peers import AIOHTTP, CADDY, NGINX
from bench.sizes import Size

Sheets = Mapping[str, Sheet]
OURS, OTHERS = "#b5651d", "#8a9ba8"
_ROWS, _COLUMNS, _INCHES = 3, 3, (15, 12)


def drawn(sheets: Sheets, size: Size, file: Path) -> None:
    """Write it, in the format that the file's name says."""
    matplotlib.rcParams["svg.hashsalt"] = "bench"  # The same figures make the same file.
    picture = Picture(figsize=_INCHES, layout="constrained")
    panels: Sequence[Axes] = picture.subplots(_ROWS, _COLUMNS).flatten().tolist()
    for panel, draw in zip(panels, _panels(sheets, size), strict=True):
        draw(panel)
        if not panel.has_data():
            panel.text(0.5, 0.5, "not measured", ha="center", transform=panel.transAxes, color=OTHERS)
            panel.set_axis_off()
    picture.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def _panels(sheets: Sheets, size: Size) -> list[Callable[[Axes], None]]:
    return [
        lambda panel: _bars(panel, _find(sheets, "calls", calls.cpu(CLIENTS)), calls.COLUMNS, logarithmic=True),
        lambda panel: _bars(panel, _find(sheets, "streams", streams.CPU_SSE), calls.COLUMNS, logarithmic=True),
        lambda panel: _bars(
            panel,
            _find(sheets, "features", f"CPU per call, {CLIENTS} clients"),
            [feature.name for feature in FEATURES],
            of="each feature, ",
        ),
        lambda panel: _latency(panel, sheets, size, 50),
        lambda panel: _latency(panel, sheets, size, 99),
        lambda panel: _bars(panel, _find(sheets, "memory", memory.PER_STREAM), memory.COLUMNS),
        lambda panel: _curve(panel, sheets, "bytes of the body", "µs per call", size.bodies, growth.body),
        lambda panel: _curve(panel, sheets, "events of a stream", "µs per event", size.events, growth.events),
        lambda panel: _of_keys(panel, sheets, size),
    ]


def _find(sheets: Sheets, sheet: str, name: str) -> Figure | None:
    figures = sheets[sheet].figures if sheet in sheets else ()
    return next((one for one in figures if one.name == name), None)


def _bars(
    panel: Axes, figure: Figure | None, columns: Sequence[str], *, logarithmic: bool = False, of: str = ""
) -> None:
    """From the top down, ours in another colour."""
    there = {name: value for name in columns if figure and (value := figure.median(name)) is not None}
    if not figure or not there:
        return
    names = [*there][::-1]
    colours = [OURS if "gate" in name or name.startswith("+") else OTHERS for name in names]
    bars = panel.barh(names, [there[name] for name in names], color=colours)
    panel.bar_label(bars, [said(there[name]) for name in names], padding=3)
    panel.margins(x=0.2)
    if logarithmic:
        panel.set_xscale("log")
    panel.set_title(f"{of}{figure.name} ({figure.unit})", fontsize=10)


def _latency(panel: Axes, sheets: Sheets, size: Size, percent: int) -> None:
    for name in (NGINX, CADDY, AIOHTTP, ALL, ALL_IN_REDIS):
        found = {
            each: value
            for each in size.clients
            if (figure := _find(sheets, "latency", calls.latency(percent, each)))
            and (value := figure.median(name)) is not None
            and value > 0
        }
        if found:
            panel.plot([*found], [*found.values()], marker="o", label=name)
    if panel.has_data():
        panel.set(xscale="log", yscale="log", xlabel="clients", ylabel="ms added")
        panel.set_title(f"added latency p{percent} of a unary call", fontsize=10)
        panel.legend(fontsize=8)


def _curve(
    panel: Axes, sheets: Sheets, across: str, up: str, sizes: Sequence[int], name_of: Callable[[int], str]
) -> None:
    for name in growth.COLUMNS:
        found = {
            each: value
            for each in sizes
            if (figure := _find(sheets, "growth", name_of(each))) and (value := figure.median(name)) is not None
        }
        if found:
            panel.plot([*found], [*found.values()], marker="o", label=name)
    if panel.has_data():
        panel.set(xscale="log", yscale="log", xlabel=across, ylabel=up)
        panel.legend(fontsize=8)


def _of_keys(panel: Axes, sheets: Sheets, size: Size) -> None:
    for what in (growth.KEYS_KNOWN, growth.KEYS_NEW):
        found = {
            each: value
            for each in size.keys
            if (figure := _find(sheets, "growth", growth.keys(what, each)))
            and (value := figure.median(ALL)) is not None
        }
        if found:
            panel.plot(
                [*found], [*found.values()], marker="o", label=what, color=OURS if what == growth.KEYS_NEW else None
            )
    if panel.has_data():
        panel.set(xscale="log", xlabel="keys on record", ylabel="µs per call")
        panel.set_ylim(bottom=0)
        panel.legend(fontsize=8)
