"""Two workers against one, both with limits in Redis: how many calls they serve in a second.

All that is not the gate is niced, for it runs on the same two cores. What it still takes there is not the gate's: so
the sheet also says what the calls of two workers would be on cores of their own, by the CPU that each call took.
"""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace

from bench import servers
from bench.figures import Notes, Sheet, figure
from bench.gates import ALL_IN_REDIS, BY_NAME, Gate
from bench.groups.turns import turns
from bench.load import UNARY
from bench.peers import NotInstalled, nginx
from bench.servers import DidNotStart, Running, clean_environment
from bench.stand import Stand, tell
from bench.upstream import WHOLE, listed

ONE, TWO = "1 worker", "2 workers"
CLIENTS = 64
SECONDS = 3.0
LINES = 2
"""Of what the gate says where it does not start, which are of the mistake."""
NICE = ("nice", "-n", "19")
RATE, CPU, OWN_CORES = "calls per second", "CPU per call, all workers", "calls per second on cores of their own"


class WrongLedger(Exception):
    """It does not have the calls that were made."""


@dataclass(frozen=True, slots=True)
class _Measured:
    name: str
    gate: Gate
    running: Running


async def measure(stand: Stand) -> None:
    """In turns. Left out with its reason where the gate takes no more than one worker, or cores are missing."""
    size, notes = stand.size, stand.notes
    if size.few:
        notes.missing[TWO] = "needs the whole machine, which a quick run does not take"
        return
    if (os.cpu_count() or 1) < 2:
        notes.missing[TWO] = "needs two cores"
        return
    with ExitStack() as stack:
        try:
            behind = nginx.answering(stand.new_folder(), WHOLE, listed())
        except NotInstalled:
            behind = servers.upstream()
        stack.enter_context(servers.running(behind, niced=True))
        there = []
        try:
            for name, number in ((ONE, 1), (TWO, 2)):
                like = BY_NAME[ALL_IN_REDIS]
                told = {**like.told, "workers": number} if number > 1 else like.told
                gate = stand.gate(replace(like, name=name, told=told), before=behind)
                there.append(_Measured(name, gate, stack.enter_context(servers.running(gate.plan))))
        except (NotInstalled, DidNotStart) as error:
            first = " ".join(line.strip() for line in str(error).splitlines()[:LINES])
            notes.missing[TWO] = f"the gate does not start with them: {first}"
            tell(f"{TWO} are left out: {first}")
            return
        for one in there:
            notes.calls[one.name] += 1 + _hammered(one.running, CLIENTS * 4)[0]
        async for number in turns("workers", size.rounds, size.seconds_of_a_group):
            for one in there if number % 2 == 0 else reversed(there):
                _one(one, size.worker_calls, notes)
        for one in there:
            kept, _ = one.gate.counted(notes.calls[one.name])
            if kept != notes.calls[one.name]:
                raise WrongLedger(f"{one.name}: the ledger has {kept} of {notes.calls[one.name]} calls")


def _one(measured: _Measured, calls: int, notes: Notes) -> None:
    before, each_before = measured.running.cpu_seconds(), measured.running.cpu_of_each()
    done, seconds = _hammered(measured.running, calls)
    spent = measured.running.cpu_seconds() - before
    each = [after - was for after, was in zip(measured.running.cpu_of_each(), each_before, strict=True)] or [spent]
    notes.calls[measured.name] += done
    notes.take(RATE, measured.name, done / seconds)
    notes.take(CPU, measured.name, spent / done)
    # The one that had most to do is full first.
    notes.take(OWN_CORES, measured.name, done / max(each))


def _hammered(server: Running, calls: int) -> tuple[int, float]:
    plan = server.plan
    done = subprocess.run(
        [*NICE, sys.executable, "-m", "bench.hammer", *map(str, (plan.port, CLIENTS, calls, int(SECONDS * 1000)))],
        input=UNARY.request(plan.port, plan.key, plan.fields),
        env=clean_environment(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    said = json.loads(done.stdout)
    return said["calls"], said["seconds"]


def sheets(notes: Notes) -> list[Sheet]:
    """Nothing of it where two were not measured."""
    return [
        Sheet(
            "workers",
            f"Two workers and one, limits in Redis, {CLIENTS} clients; load, upstream and Redis on the same cores",
            {ONE: ONE, TWO: TWO},
            {"2 / 1": (TWO, ONE)},
            [
                figure(RATE, "1/s", notes.of(RATE)),
                figure(OWN_CORES, "1/s", notes.of(OWN_CORES)),
                figure(CPU, "µs", notes.of(CPU), 1e6),
            ],
        )
    ]
