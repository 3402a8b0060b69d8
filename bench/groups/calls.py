"""Small unary calls, some 600 bytes in and 480 out: CPU of the proxy, and what it adds to the time of each."""

from bench.figures import Notes, Sheet, figure, percentile
from bench.gates import ALL, ALL_IN_REDIS
from bench.groups.turns import in_turns, load
from bench.load import UNARY
from bench.peers import AIOHTTP, CADDY, LITELLM, NGINX, PORTKEY
from bench.servers import Running
from bench.stand import LARGE, UPSTREAM, Stand

COLUMNS = (UPSTREAM, NGINX, CADDY, AIOHTTP, ALL, ALL_IN_REDIS, LITELLM, PORTKEY)
RATIOS = {
    "gate / nginx": (ALL, NGINX),
    "gate / Caddy": (ALL, CADDY),
    "gate / aiohttp": (ALL, AIOHTTP),
    "Redis / Caddy": (ALL_IN_REDIS, CADDY),
    "LiteLLM / gate": (LITELLM, ALL),
    "Portkey / gate": (PORTKEY, ALL),
}
MOST_OF_LARGE = 32
"""Clients of those whose calls take a thousand times as long."""


def cpu(clients: int) -> str:
    """The name of this figure."""
    return f"CPU per call, {clients} client{'s' * (clients > 1)}"


def latency(percent: int, clients: int) -> str:
    """The name of this figure."""
    return f"added latency p{percent}, {clients} client{'s' * (clients > 1)}"


async def measure(stand: Stand) -> None:
    """In turns over all servers that there are."""
    size, notes = stand.size, stand.notes

    async def one(server: Running) -> None:
        name = server.plan.name
        for clients in size.clients:
            if name in LARGE and clients > MOST_OF_LARGE:
                continue
            calls = size.calls * (1 if clients == 1 else 4)
            heard, spent = await load(notes, server, UNARY, clients, calls, connected_before=True)
            notes.take(cpu(clients), name, spent)
            for percent in (50, 99):
                notes.take(latency(percent, clients), name, percentile(heard.seconds, percent))

    await in_turns("calls", await stand.all(COLUMNS), size.rounds, size.seconds_of_a_group, one)


def sheets(notes: Notes, clients: tuple[int, ...]) -> list[Sheet]:
    """CPU, then latency; the upstream's own latency stands as it is."""
    columns = {name: name for name in COLUMNS}
    return [
        Sheet(
            "calls",
            "CPU of the proxy per small unary call",
            columns,
            RATIOS,
            [figure(cpu(each), "µs", notes.of(cpu(each)), 1e6) for each in clients],
        ),
        Sheet(
            "latency",
            "What the proxy adds to the time of a small unary call; in the upstream's column, what it takes alone",
            columns,
            {},
            [
                figure(what, "ms", notes.added(what, UPSTREAM), 1e3)
                for each in clients
                for percent in (50, 99)
                for what in [latency(percent, each)]
            ],
        ),
    ]
