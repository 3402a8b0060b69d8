"""The gate with each of its features switched on in turn, and with all."""

from bench.figures import Notes, Sheet, figure, percentile
from bench.gates import ALL, ALL_IN_REDIS, BARE, FEATURES
from bench.groups.turns import in_turns, load
from bench.load import EVENTS, UNARY
from bench.servers import Running
from bench.stand import Stand
from bench.upstream import EVENTS as EVENTS_OF_A_STREAM

CLIENTS = (1, 32)
STREAMS_AT_ONCE = 8
CPU = {clients: f"CPU per call, {clients} client{'s' * (clients > 1)}" for clients in CLIENTS}
EVENT = "CPU per event, SSE"
LATENCY = "p50, 1 client"
OF_A_FEATURE = "gate with: "
"""Else its figures would be those of another group."""
NOTE = (
    "The bare gate knows its callers by keys and keeps its ledger, for neither can be switched off; its log says errors"
    " only, and no plan has a limit."
)


async def measure(stand: Stand) -> None:
    """In turns over all of them; in a quick run only over the least and those with everything."""
    size, notes = stand.size, stand.notes
    names = (BARE, ALL, ALL_IN_REDIS) if size.few else [feature.name for feature in FEATURES]

    async def one(server: Running) -> None:
        name = server.plan.name
        for clients, what in CPU.items():
            calls = size.calls * (1 if clients == 1 else 3)
            heard, spent = await load(notes, server, UNARY, clients, calls, connected_before=True)
            notes.take(OF_A_FEATURE + what, name, spent)
            if clients == 1:
                notes.take(OF_A_FEATURE + LATENCY, name, percentile(heard.seconds, 50))
        streams = max(STREAMS_AT_ONCE, size.streams // 2)
        _, spent = await load(notes, server, EVENTS, STREAMS_AT_ONCE, streams)
        notes.take(OF_A_FEATURE + EVENT, name, spent / EVENTS_OF_A_STREAM)

    await in_turns("features", await stand.all(names), size.rounds, size.seconds_of_a_group, one)


def sheets(notes: Notes) -> list[Sheet]:
    """One row for each feature, for there are more of them than figures."""
    rows = {**dict.fromkeys((*CPU.values(), EVENT), ("µs", 1e6)), LATENCY: ("ms", 1e3)}
    columns = {feature.name: feature.name for feature in FEATURES}
    return [
        Sheet(
            "features",
            "The gate with each feature switched on in turn",
            columns,
            {
                f"{feature.name} / bare": (feature.name, BARE)
                for feature in FEATURES
                if feature.name in (ALL, ALL_IN_REDIS)
            },
            [figure(what, unit, notes.of(OF_A_FEATURE + what), scale) for what, (unit, scale) in rows.items()],
        )
    ]
