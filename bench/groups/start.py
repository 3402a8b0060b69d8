"""From the start to the first answer, and what the process then has in memory."""

from bench import servers
from bench.figures import Notes, Sheet, figure
from bench.gates import ALL, BARE, BY_NAME
from bench.groups.turns import turns
from bench.peers import AIOHTTP, CADDY, NGINX, NotInstalled
from bench.servers import DidNotStart
from bench.stand import PEERS, Stand

COLUMNS = (NGINX, CADDY, AIOHTTP, BARE, ALL)
FEW = (AIOHTTP, ALL)
START, MEMORY = "first answer after start", "resident memory, idle"


async def measure(stand: Stand) -> None:
    """Each by itself, and in turns. A database is there already."""
    size, notes = stand.size, stand.notes
    columns = FEW if size.few else COLUMNS
    async for number in turns("starts", size.starts, size.seconds_of_a_group):
        for name in columns if number % 2 == 0 else reversed(columns):
            try:
                plan = PEERS[name](stand.new_folder(), stand.upstream.plan) if name in PEERS else None
                with servers.running(plan or stand.gate(BY_NAME[name]).plan) as running:
                    notes.take(START, name, running.first_answer_seconds)
                    notes.take(MEMORY, name, running.resident_bytes())
            except (NotInstalled, DidNotStart) as error:
                if name not in PEERS:
                    raise
                notes.missing[name] = str(error)


def sheets(notes: Notes) -> list[Sheet]:
    """Without ratios: they are what they are."""
    return [
        Sheet(
            "start",
            "From the start to the first answer, and idle after it",
            {name: name for name in COLUMNS},
            {},
            [
                figure(START, "ms", notes.of(START), 1e3),
                figure(MEMORY, "MB", notes.of(MEMORY), 1e-6),
            ],
        )
    ]
