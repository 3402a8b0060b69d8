"""Streams of events, each its own packet: CPU of the proxy for each, and what it adds to the time of each."""

from dataclasses import replace

from bench.figures import Notes, Sheet, figure, percentile
from bench.gates import ALL_IN_REDIS
from bench.groups.calls import COLUMNS, RATIOS
from bench.groups.turns import in_turns, load
from bench.load import EVENTS, LINES, WrongAnswer
from bench.peers import NGINX
from bench.servers import Running
from bench.stand import LARGE, UPSTREAM, Stand
from bench.upstream import EVENTS as EVENTS_OF_A_STREAM
from bench.upstream import STAMPED

STREAMS_AT_ONCE = 8
PACED_CLIENTS = 64
PACE_MILLISECONDS = 20
"""Between two events of a stream: 50 tokens a second."""
LONGEST = 50
"""Of what is told of a wrong answer."""
SPREAD_SECONDS = 0.5
"""The paced streams do not begin in the same moment."""
STREAM_SECONDS = 2.5

CPU_SSE, CPU_NDJSON = "CPU per event, SSE", "CPU per event, NDJSON"
CHUNKS = "chunks per stream heard, SSE"
FIRST = "added to first byte p50, 8 streams"
PACED_FIRST = "added to first byte p99, 64 streams"
PACED = {percent: f"added to an event p{percent}, 64 streams" for percent in (50, 99)}
PACED_CPU = "CPU per event, 64 streams, 50/s each"


async def measure(stand: Stand) -> None:
    """In turns over all servers that there are; those that are too slow for it have no pace."""
    size, notes = stand.size, stand.notes
    paced = replace(EVENTS, events=size.paced_events, pause_milliseconds=PACE_MILLISECONDS, kind=STAMPED)

    async def one(server: Running) -> None:
        name = server.plan.name
        large = name in LARGE
        streams = min(size.streams, 2 * STREAMS_AT_ONCE) if large else size.streams
        at_once = min(STREAMS_AT_ONCE, streams)
        heard, spent = await load(notes, server, EVENTS, at_once, streams, seconds=STREAM_SECONDS)
        notes.take(CPU_SSE, name, spent / EVENTS_OF_A_STREAM)
        notes.take(CHUNKS, name, heard.chunks / heard.calls)
        notes.take(FIRST, name, percentile(heard.first_seconds, 50))
        if large:
            return
        _, spent = await load(notes, server, LINES, at_once, streams, seconds=STREAM_SECONDS)
        notes.take(CPU_NDJSON, name, spent / EVENTS_OF_A_STREAM)
        clients = PACED_CLIENTS
        heard, spent = await load(notes, server, paced, clients, clients, spread=SPREAD_SECONDS, seconds=STREAM_SECONDS)
        notes.take(PACED_CPU, name, spent / size.paced_events)
        notes.take(PACED_FIRST, name, percentile(heard.first_seconds, 99))
        for percent, what in PACED.items():
            notes.take(what, name, percentile(heard.waits, percent) / 1e9)

    await in_turns("streams", await _there(stand), size.rounds, size.seconds_of_a_group, one)


async def _there(stand: Stand) -> list[Running]:
    """Without those of the large ones that do not stream here."""
    there = []
    for server in await stand.all(COLUMNS):
        try:
            await load(stand.notes, server, EVENTS, 1, 1)
        except* WrongAnswer as errors:
            if server.plan.name not in LARGE:
                raise
            stand.notes.missing[f"{server.plan.name}, streams"] = str(errors.exceptions[0])[:LONGEST]
        else:
            there.append(server)
    return there


def sheets(notes: Notes) -> list[Sheet]:
    """CPU, then what is added; the upstream's own time stands as it is."""
    columns = {name: name for name in COLUMNS}
    return [
        Sheet(
            "streams",
            f"CPU of the proxy per event, the call's share in it, a stream having {EVENTS_OF_A_STREAM}",
            columns,
            {**RATIOS, "Redis / nginx": (ALL_IN_REDIS, NGINX)},
            [
                figure(CPU_SSE, "µs", notes.of(CPU_SSE), 1e6),
                figure(CPU_NDJSON, "µs", notes.of(CPU_NDJSON), 1e6),
                figure(PACED_CPU, "µs", notes.of(PACED_CPU), 1e6),
                figure(CHUNKS, "", notes.of(CHUNKS)),
            ],
        ),
        Sheet(
            "waits",
            "What the proxy adds to the time of events; in the upstream's column, what it takes alone",
            columns,
            {},
            [figure(what, "ms", notes.added(what, UPSTREAM), 1e3) for what in (FIRST, PACED_FIRST, *PACED.values())],
        ),
    ]
