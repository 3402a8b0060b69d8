"""From notes to five tables: what the gate costs, what limits add to it, what a decision about limits costs, a row of
the ledger, and to know a caller."""

from collections.abc import Sequence

from bench.decisions import ACCOUNTS, KINDS
from bench.figures import Figure, Sheet, figure
from bench.ledger import AT_ONCE, IN_POSTGRES, IN_SQLITE, JOURNAL_ALONE, NO_LEDGER, PACED
from bench.proofs import KINDS as KINDS_OF_PROOF
from bench.rounds import (
    BARE,
    CALL,
    CLIENTS,
    GATE,
    IN_PROCESS,
    IN_REDIS,
    MANY,
    PROOF,
    REDIS_ITSELF,
    UPSTREAM,
    Notes,
    decision,
)


def sheets(notes: Notes) -> list[Sheet]:
    return [
        Sheet(
            "figures",
            "The gate, beside a proxy that does nothing",
            {UPSTREAM: "upstream alone", BARE: "bare", GATE: "gate"},
            {"gate / bare": (GATE, BARE)},
            [
                *_of_calls(notes, BARE, GATE),
                figure("chunks per stream heard, SSE", "", notes.of("chunks sse", UPSTREAM, BARE, GATE)),
                figure("chunks per stream heard, NDJSON", "", notes.of("chunks ndjson", UPSTREAM, BARE, GATE)),
                *_of_latency(notes, (50, 99), BARE, GATE),
                figure("first answer after start", "ms", notes.of("start", BARE, GATE), 1e3),
                figure("resident memory, idle", "MiB", notes.of("memory", BARE, GATE), 2**-20),
            ],
        ),
        Sheet(
            "limits",
            "The same gate with limits at key, user, team and everybody, kept in process or in Redis",
            {GATE: "gate", IN_PROCESS: "in process", IN_REDIS: "in Redis"},
            {"in process / gate": (IN_PROCESS, GATE), "in Redis / gate": (IN_REDIS, GATE)},
            [
                *_of_calls(notes, GATE, IN_PROCESS, IN_REDIS),
                *_of_latency(notes, (50,), GATE, IN_PROCESS, IN_REDIS),
            ],
        ),
        Sheet(
            "decisions",
            "CPU per decision",
            {IN_PROCESS: "in process", IN_REDIS: "in Redis", REDIS_ITSELF: "by Redis itself"},
            {
                "Redis / process": (IN_REDIS, IN_PROCESS),
                "process / call": (IN_PROCESS, CALL),
                "Redis / call": (IN_REDIS, CALL),
            },
            [
                figure(what, "µs", {**notes.of(what), CALL: notes.of(f"cpu {clients}")[GATE]}, 1e6)
                for kind in KINDS
                for accounts in ACCOUNTS
                for clients in CLIENTS
                for what in [decision(kind, accounts, clients)]
            ],
        ),
        Sheet(
            "ledger",
            "The ledger, from what a call tells its line to the row in the book",
            {
                NO_LEDGER: "no ledger",
                JOURNAL_ALONE: "journal alone",
                IN_SQLITE: "book in SQLite",
                IN_POSTGRES: "in PostgreSQL",
            },
            {
                "journal / none": (JOURNAL_ALONE, NO_LEDGER),
                "SQLite / call": (IN_SQLITE, CALL),
            },
            [*_of_rows(notes), *_of_waits(notes)],
        ),
        Sheet(
            "proofs",
            "CPU of knowing a caller",
            {PROOF: "by a proof"},
            {"proof / call": (PROOF, CALL)},
            [
                figure(kind, "µs", {**notes.of(f"proof {kind}"), CALL: notes.of(f"cpu {MANY}")[GATE]}, 1e6)
                for kind in KINDS_OF_PROOF
            ],
        ),
    ]


def _of_rows(notes: Notes) -> list[Figure]:
    calls = {clients: notes.of(f"cpu {clients}").get(GATE, []) for clients in CLIENTS}
    return [
        *(
            figure(f"rows per second, {_callers(clients)}", "1/s", notes.of(f"rows {clients}", IN_SQLITE, IN_POSTGRES))
            for clients in AT_ONCE
        ),
        *(
            figure(
                f"CPU per row, {_callers(clients)}",
                "µs",
                {**notes.of(f"row cpu {clients}"), CALL: calls.get(clients, [])},
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


def _of_calls(notes: Notes, *servers: str) -> list[Figure]:
    return [
        figure("CPU per unary call, 1 client", "µs", notes.of("cpu 1", *servers), 1e6),
        figure(f"CPU per unary call, {MANY} clients", "µs", notes.of(f"cpu {MANY}", *servers), 1e6),
        figure("CPU per streamed event, SSE", "µs", notes.of("cpu sse", *servers), 1e6),
        figure("CPU per streamed event, NDJSON", "µs", notes.of("cpu ndjson", *servers), 1e6),
    ]


def _of_latency(notes: Notes, percents: Sequence[int], *servers: str) -> list[Figure]:
    return [
        figure(
            f"added latency p{percent}, {clients} client{'s' * (clients > 1)}",
            "ms",
            {**notes.of(what, UPSTREAM), **notes.added(what, *servers)},  # The upstream's own stands as it is.
            1e3,
        )
        for clients in CLIENTS
        for percent in percents
        for what in [f"p{percent} {clients}"]
    ]
