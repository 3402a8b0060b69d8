"""``python -m bench``: start the servers, measure them in turns, and print one table."""

import argparse
import asyncio
import json
import os
import platform
import shlex
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from bench import servers
from bench.figures import Figure, figure, percentile, table, written
from bench.load import EVENTS, LINES, UNARY, Heard, Question, ask_all, connected
from bench.servers import Running
from bench.upstream import EVENTS as EVENTS_OF_A_STREAM

MANY = 32
STREAMS_AT_ONCE = 8
LOAD_SECONDS = 1.5
"""The most that one load takes, however slow the server is."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    starts: int
    calls: int
    """Of one client in one round; four times as many of all 32 clients."""
    streams: int
    """Of each kind in one round."""
    seconds: float
    """No round is begun that would end later."""


WHOLE = Size(rounds=5, starts=3, calls=400, streams=48, seconds=50)
QUICK = Size(rounds=2, starts=1, calls=100, streams=24, seconds=11)

Rounds = dict[str, list[float]]


@dataclass(slots=True)
class Notes:
    """What was measured, by figure and server, a value for each round."""

    taken: defaultdict[str, defaultdict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    gate_calls: int = 0

    def take(self, what: str, server: str, value: float) -> None:
        self.taken[what][server].append(value)

    def of(self, what: str) -> Rounds:
        return dict(self.taken[what])

    def added(self, what: str) -> Rounds:
        """Less what the upstream alone takes in the same round; that stands as it is."""
        alone = self.taken[what]["upstream"]
        less = {
            server: [value - base for value, base in zip(values, alone, strict=True)]
            for server, values in self.taken[what].items()
            if server != "upstream"
        }
        return {"upstream": alone, **less}


async def load(server: Running, question: Question, clients: int, calls: int) -> tuple[Heard, float]:
    """What was heard, and the CPU seconds of the server for it."""
    async with connected(server.plan.port, clients) as connections:
        request = question.request(server.plan.port, server.plan.key)
        before = server.cpu_seconds()
        heard = await ask_all(connections, question, request, calls, LOAD_SECONDS)
        return heard, server.cpu_seconds() - before


async def measure(server: Running, size: Size, notes: Notes) -> None:
    name = server.plan.name
    calls = 0
    for clients, share in ((1, 1), (MANY, 4)):
        heard, cpu = await load(server, UNARY, clients, size.calls * share)
        notes.take(f"cpu {clients}", name, cpu / heard.calls)
        for percent in (50, 99):
            notes.take(f"p{percent} {clients}", name, percentile(heard.seconds, percent))
        calls += heard.calls
    for kind, question in (("sse", EVENTS), ("ndjson", LINES)):
        heard, cpu = await load(server, question, min(STREAMS_AT_ONCE, size.streams), size.streams)
        notes.take(f"cpu {kind}", name, cpu / heard.calls / EVENTS_OF_A_STREAM)
        notes.take(f"chunks {kind}", name, heard.chunks / heard.calls)
        calls += heard.calls
    if name == "gate":
        notes.gate_calls += calls


async def rounds(measured: Sequence[Running], size: Size, notes: Notes, until: float) -> int:
    """How many were done."""
    for server in measured:  # Whatever is done only once is done by then.
        await measure(server, replace(size, calls=min(20, size.calls), streams=1), warming := Notes())
        notes.gate_calls += warming.gate_calls
    for done in range(size.rounds):
        began = time.perf_counter()
        tell(f"round {done + 1} of {size.rounds}")
        for server in measured if done % 2 == 0 else reversed(measured):
            await measure(server, size, notes)
        if 2 * time.perf_counter() - began > until:
            return done + 1
    return size.rounds


def run(size: Size) -> tuple[list[Figure], int]:
    """The figures, and of how many rounds they are."""
    notes = Notes()
    until = time.perf_counter() + size.seconds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llamagate-bench-")))
        behind = servers.upstream()
        measured = [stack.enter_context(servers.running(behind))]
        gate, gate_plan = servers.Gate.made(folder, behind)
        plans = (servers.bare(behind), gate_plan)
        for start in range(size.starts):
            tell(f"start {start + 1} of {size.starts}")
            for plan in plans:
                keep = stack if start + 1 == size.starts else None
                with ExitStack() as until_next:
                    server = (keep or until_next).enter_context(servers.running(plan))
                    notes.take("start", plan.name, server.first_answer_seconds)
                    notes.take("memory", plan.name, server.resident_bytes())
                    if keep:
                        measured.append(server)
        done = asyncio.run(rounds(measured, size, notes, until))
        kept, floors = gate.counted()
        asked = notes.gate_calls + size.starts
        if (kept, floors) != (asked, 0):  # What does not meter is not the gate.
            raise RuntimeError(f"the ledger has {kept} of {asked} calls, {floors} of them without exact counts")
    return figures(notes), done


def figures(notes: Notes) -> list[Figure]:
    def proxies(what: str) -> Rounds:
        return {server: values for server, values in notes.of(what).items() if server != "upstream"}

    return [
        figure("CPU per unary call, 1 client", "µs", proxies("cpu 1"), 1e6),
        figure(f"CPU per unary call, {MANY} clients", "µs", proxies(f"cpu {MANY}"), 1e6),
        figure("CPU per streamed event, SSE", "µs", proxies("cpu sse"), 1e6),
        figure("CPU per streamed event, NDJSON", "µs", proxies("cpu ndjson"), 1e6),
        figure("chunks per stream heard, SSE", "", notes.of("chunks sse")),
        figure("chunks per stream heard, NDJSON", "", notes.of("chunks ndjson")),
        *(
            figure(f"added latency p{percent}, {clients} client{'s' * (clients > 1)}", "ms", notes.added(what), 1e3)
            for clients in (1, MANY)
            for percent in (50, 99)
            for what in [f"p{percent} {clients}"]
        ),
        figure("first answer after start", "ms", notes.of("start"), 1e3),
        figure("resident memory, idle", "MiB", notes.of("memory"), 2**-20),
    ]


def tell(progress: str) -> None:
    print(f"bench: {progress}", file=sys.stderr, flush=True)


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench", description="Measure the gate beside a proxy that does nothing.")
    parser.add_argument("--quick", action="store_true", help="less of everything: under 15 seconds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    for name, tells in (("rounds", "rounds"), ("calls", "calls of one client in a round"), ("streams", "streams")):
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"how many {tells}")
    told = parser.parse_args(words)
    named = {name: getattr(told, name) for name in ("rounds", "calls", "streams") if getattr(told, name) is not None}
    if min(named.values(), default=1) < 1:
        parser.error("there is nothing to measure in less than one")
    size = replace(QUICK if told.quick else WHOLE, **named)

    # Told to stop, it must still end what it has started.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    found, done = run(size)

    python = platform.python_version()
    caption = (
        f"Rounds: {done}. Python {python}, {os.cpu_count()} CPUs. An event's CPU holds its share of the call, a stream"
        f" having {EVENTS_OF_A_STREAM}. Latency is what is added to the upstream's own."
    )
    Console(width=None if sys.stdout.isatty() else 110).print(table(found, caption))
    if told.json is not None:
        about = {"command": shlex.join(["bench", *words]), "python": python, "cpus": os.cpu_count(), "rounds": done}
        told.json.write_text(json.dumps(written(found, about), indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
