"""What grows with what: bodies, events of a stream, keys on record."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from bench import on_record, servers
from bench.figures import Notes, Sheet, figure
from bench.gates import ALL, BY_NAME
from bench.groups.turns import load, turns
from bench.load import EVENTS, UNARY
from bench.peers import AIOHTTP, CADDY, NGINX
from bench.servers import Running
from bench.stand import Stand, tell

COLUMNS = (NGINX, CADDY, AIOHTTP, ALL)
BODIES_AT_ONCE = 4
BYTES_OF_A_LOAD = 20_000_000
EVENTS_OF_A_LOAD = 8_000
LONG = 5_000
"""Events that take so long that all servers are asked for them at the same time, where else each has its turn."""
STREAMS_AT_ONCE = 8
KNOWN, UNKNOWN = 1, 150
"""Keys that are real: one that is used all the time, and others each of which is used once in a round."""
SECONDS = 15.0
KEYS_ROUNDS = 2


def body(octets: int) -> str:
    """The name of this figure."""
    return f"CPU per call, body of {octets // 1000:,} kB"


def events(count: int) -> str:
    """The name of this figure."""
    return f"CPU per event, stream of {count:,}"


def keys(what: str, count: int) -> str:
    """The name of one of the figures below."""
    return f"{what}, {count:,} keys"


KEYS_KNOWN, KEYS_NEW, KEYS_START, KEYS_MEMORY = "CPU per call", "CPU per call of a new key", "start", "resident memory"


async def measure(stand: Stand) -> None:
    """Bodies and events in turns over the servers, then gates with more and more keys in turns."""
    size, notes = stand.size, stand.notes
    there = await stand.all(COLUMNS)
    rounds = max(1, size.rounds - 1)
    async for number in turns("growth of bodies", rounds, size.seconds_of_a_group / 3):
        for octets in size.bodies:
            question = replace(UNARY, body_bytes=octets)
            calls = max(BODIES_AT_ONCE, min(size.calls, BYTES_OF_A_LOAD // octets))
            for server in there if number % 2 == 0 else reversed(there):
                _, spent = await load(notes, server, question, BODIES_AT_ONCE, calls, connected_before=True)
                notes.take(body(octets), server.plan.name, spent)
    async for number in turns("growth of streams", rounds, size.seconds_of_a_group / 3):
        for count in size.events:
            streams = max(1, min(size.streams, EVENTS_OF_A_LOAD // count))
            if count >= LONG:
                await asyncio.gather(*(_stream(notes, server, count, streams) for server in there))
                continue
            for server in there if number % 2 == 0 else reversed(there):
                await _stream(notes, server, count, streams)
    await _keys(stand)


async def _stream(notes: Notes, server: Running, count: int, streams: int) -> None:
    clients = min(STREAMS_AT_ONCE, streams)
    _, spent = await load(notes, server, replace(EVENTS, events=count), clients, streams, seconds=SECONDS)
    notes.take(events(count), server.plan.name, spent / count)


async def _keys(stand: Stand) -> None:
    size, notes = stand.size, stand.notes
    rounds = min(size.rounds, KEYS_ROUNDS)
    unknown = UNKNOWN if not size.few else UNKNOWN // 5
    with ExitStack() as stack:
        found = {}
        for count in size.keys:
            tell(f"putting {count:,} keys on record")
            folder = stand.new_folder()
            real = await on_record.issue(folder, KNOWN + rounds * unknown, count)
            gate = stand.gate(replace(BY_NAME[ALL], name=f"gate of {count} keys"), like=folder)
            running = stack.enter_context(servers.running(replace(gate.plan, key=real[0])))
            notes.take(keys(KEYS_START, count), ALL, running.first_answer_seconds)
            await stand.warm(running)
            notes.take(keys(KEYS_MEMORY, count), ALL, running.resident_bytes())
            found[count] = running, _slices(real[KNOWN:], unknown)
        async for number in turns("growth of keys", rounds, size.seconds_of_a_group / 3):
            for count in size.keys if number % 2 == 0 else reversed(size.keys):
                running, slices = found[count]
                _, spent = await load(notes, running, UNARY, BODIES_AT_ONCE, size.calls)
                notes.take(keys(KEYS_KNOWN, count), ALL, spent)
                new = next(slices)
                _, spent = await load(notes, running, UNARY, BODIES_AT_ONCE, len(new), keys=new)
                notes.take(keys(KEYS_NEW, count), ALL, spent)


def _slices(real: list[str], length: int) -> Iterator[list[str]]:
    return (real[at : at + length] for at in range(0, len(real), length))


def sheets(notes: Notes, bodies: tuple[int, ...], counts: tuple[int, ...], on_record: tuple[int, ...]) -> list[Sheet]:
    """One row for each size."""
    units = {KEYS_KNOWN: ("µs", 1e6), KEYS_NEW: ("µs", 1e6), KEYS_START: ("ms", 1e3), KEYS_MEMORY: ("MiB", 2**-20)}
    return [
        Sheet(
            "growth",
            "What grows with bodies, streams and keys on record",
            {name: name for name in COLUMNS},
            {f"gate / {name}": (ALL, name) for name in COLUMNS if name != ALL},
            [
                *(figure(body(octets), "µs", notes.of(body(octets)), 1e6) for octets in bodies),
                *(figure(events(count), "µs", notes.of(events(count)), 1e6) for count in counts),
                *(
                    figure(keys(what, count), unit, notes.of(keys(what, count)), scale)
                    for what, (unit, scale) in units.items()
                    for count in on_record
                ),
            ],
        )
    ]
