"""What a stream costs that is open and says nothing: the memory of the proxy for each."""

import asyncio
import resource
from dataclasses import replace

from bench import servers
from bench.figures import Notes, Sheet, figure
from bench.gates import ALL, BARE, BY_NAME
from bench.load import EVENTS, connected
from bench.peers import AIOHTTP, CADDY, NGINX, NotInstalled
from bench.servers import DidNotStart, Running
from bench.stand import PEERS, Stand, tell
from bench.upstream import SILENT

COLUMNS = (NGINX, CADDY, AIOHTTP, BARE, ALL)
FEW = (AIOHTTP, ALL)
SETTLE_SECONDS = 0.5
OPEN_SECONDS = 60.0
AT_ONCE = 32
"""Streams that are asked for together."""
PER_STREAM = "resident memory per open stream"
CPU_OPEN = "CPU to open one"
CPU_IDLE = "CPU while all wait, of a core"
IDLE_SECONDS = 2.0
SPARE_FILES = 200


async def measure(stand: Stand) -> None:
    """Each is started anew, with nothing behind it, and ended before the next."""
    for name in FEW if stand.size.few else COLUMNS:
        try:
            plan = PEERS[name](stand.new_folder(), stand.upstream.plan) if name in PEERS else None
            plan = plan or stand.gate(BY_NAME[name]).plan
            tell(f"memory of {stand.size.open_streams:,} open streams, {name}")
            with servers.running(plan) as running:
                await stand.warm(running)
                await _open(stand, running)
        except (NotInstalled, DidNotStart) as error:
            if name not in PEERS:
                raise
            stand.notes.missing[name] = str(error)


async def _open(stand: Stand, server: Running) -> None:
    notes, plan, count = stand.notes, server.plan, stand.size.open_streams
    question = replace(EVENTS, kind=SILENT)
    idle, spent = server.resident_bytes(), server.cpu_seconds()
    async with connected(plan.port, count) as connections:
        request = question.request(plan.port, plan.key, plan.fields)
        async with asyncio.timeout(OPEN_SECONDS):
            for at in range(0, count, AT_ONCE):
                await asyncio.gather(*(one.begin(request) for one in connections[at : at + AT_ONCE]))
        await asyncio.sleep(SETTLE_SECONDS)
        opened = server.cpu_seconds()
        notes.take(PER_STREAM, plan.name, (server.resident_bytes() - idle) / count)
        notes.take(CPU_OPEN, plan.name, (opened - spent) / count)
        if not stand.size.few:
            await asyncio.sleep(IDLE_SECONDS)
            notes.take(CPU_IDLE, plan.name, (server.cpu_seconds() - opened) / IDLE_SECONDS)


def enough_files(streams: int) -> bool:
    """Whether this machine lets a process have so many connections; the gate holds a third of its files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most == resource.RLIM_INFINITY or 3 * streams + SPARE_FILES <= most


def sheets(notes: Notes, count: int) -> list[Sheet]:
    """With both connections of each, and less what the proxy had before the first of them."""
    return [
        Sheet(
            "memory",
            f"{count:,} streams that are open and say nothing",
            {name: name for name in COLUMNS},
            {f"gate / {name}": (ALL, name) for name in COLUMNS if name != ALL},
            [
                figure(PER_STREAM, "KB", notes.of(PER_STREAM), 1e-3),
                figure(CPU_OPEN, "µs", notes.of(CPU_OPEN), 1e6),
                figure(CPU_IDLE, "%", notes.of(CPU_IDLE), 100),
            ],
        )
    ]
