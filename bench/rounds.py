"""What is measured in each round: the servers in turns, then decisions, lines of the ledger and proofs in turns."""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace

from bench import decisions, ledger, proofs
from bench.decisions import ACCOUNTS, KINDS, Counts
from bench.figures import Rounds, percentile
from bench.ledger import AT_ONCE, Place
from bench.load import EVENTS, LINES, UNARY, Heard, Question, ask_all, connected
from bench.proofs import Proving
from bench.redis import RedisServer
from bench.servers import Running
from bench.upstream import EVENTS as EVENTS_OF_A_STREAM

MANY = 32
CLIENTS = (1, MANY)
STREAMS_AT_ONCE = 8
LOAD_SECONDS = 1.2
"""The most that one load takes, however slow the server is."""

UPSTREAM, BARE, GATE, IN_PROCESS, IN_REDIS = "upstream", "bare", "gate", "in process", "in Redis"
CALL, REDIS_ITSELF, PROOF = "call", "Redis itself", "proof"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    starts: int
    calls: int
    """Of one client in one round; four times as many of all 32 clients."""
    streams: int
    """Of each kind in one round."""
    decisions: int
    """Of each kind in one round."""
    proofs: int
    """Of each kind in one round."""
    rows: int
    """Of the ledger, in one round, of each number of callers; a tenth of them where calls come as they like."""
    seconds: float
    """No round is begun that would end later."""


@dataclass(slots=True)
class Notes:
    """What was measured, by figure and server, a value for each round."""

    taken: defaultdict[str, defaultdict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    calls: Counter[str] = field(default_factory=Counter)
    """By server."""
    scripts: int = 0
    """That Redis has run while the gate with limits in Redis was measured; two for each call."""

    @property
    def share_in_redis(self) -> float | None:
        """Of that gate's calls, those that were decided in Redis; None where there was none."""
        return min(1.0, self.scripts / 2 / calls) if (calls := self.calls[IN_REDIS]) else None

    def take(self, what: str, server: str, value: float) -> None:
        self.taken[what][server].append(value)

    def of(self, what: str, *servers: str) -> Rounds:
        """Of these servers, or of all."""
        return {server: values for server, values in self.taken[what].items() if not servers or server in servers}

    def added(self, what: str, *servers: str) -> Rounds:
        """Less what the upstream alone takes in the same round."""
        alone = self.taken[what][UPSTREAM]
        return {
            server: [value - base for value, base in zip(values, alone, strict=True)]
            for server, values in self.of(what, *servers).items()
        }


async def load(server: Running, question: Question, clients: int, calls: int) -> tuple[Heard, float]:
    """What was heard, and the CPU seconds of the server for it."""
    async with connected(server.plan.port, clients) as connections:
        request = question.request(server.plan.port, server.plan.key)
        before = server.cpu_seconds()
        heard = await ask_all(connections, question, request, calls, LOAD_SECONDS)
        return heard, server.cpu_seconds() - before


async def measure(server: Running, size: Size, notes: Notes) -> None:
    name = server.plan.name
    for clients, share in ((1, 1), (MANY, 4)):
        heard, cpu = await load(server, UNARY, clients, size.calls * share)
        notes.take(f"cpu {clients}", name, cpu / heard.calls)
        for percent in (50, 99):
            notes.take(f"p{percent} {clients}", name, percentile(heard.seconds, percent))
        notes.calls[name] += heard.calls
    for kind, question in (("sse", EVENTS), ("ndjson", LINES)):
        heard, cpu = await load(server, question, min(STREAMS_AT_ONCE, size.streams), size.streams)
        notes.take(f"cpu {kind}", name, cpu / heard.calls / EVENTS_OF_A_STREAM)
        notes.take(f"chunks {kind}", name, heard.chunks / heard.calls)
        notes.calls[name] += heard.calls


async def decide(counts: Mapping[str, Counts], size: Size, notes: Notes) -> None:
    """In turns within each figure, for they are compared."""
    for kind in KINDS:
        for accounts in ACCOUNTS:
            for clients in CLIENTS:
                what = decision(kind, accounts, clients)
                for place, counted in counts.items():
                    spent = await decisions.spending(counted, kind, accounts, clients, size.decisions)
                    notes.take(what, place, spent.here)
                    if spent.in_redis is not None:
                        notes.take(what, REDIS_ITSELF, spent.in_redis)


async def keep(found: Mapping[str, Place], size: Size, notes: Notes) -> None:
    """In turns within each figure, for they are compared."""
    for clients in AT_ONCE:
        for name, place in found.items():
            spent = await ledger.at_once(place, clients, size.rows)
            notes.take(f"row cpu {clients}", name, spent.cpu)
            notes.take(f"rows {clients}", name, 1 / spent.seconds_of_a_row)
            for percent in (50, 99):
                notes.take(f"wait p{percent} {clients}", name, percentile(spent.waits, percent))
    for name, place in found.items():
        spent = await ledger.paced(place, max(1, size.rows // 10))
        notes.take("row cpu paced", name, spent.cpu)


async def prove(proving: Proving, size: Size, notes: Notes) -> None:
    for kind in proofs.KINDS:
        notes.take(f"proof {kind}", PROOF, await proofs.spending(proving, kind, size.proofs))


def decision(kind: str, accounts: int, clients: int) -> str:
    return f"{kind}; {accounts} account{'s' * (accounts > 1)}, {clients} at once"


async def rounds(
    measured: Sequence[Running],
    redis: RedisServer | None,
    books: AbstractAsyncContextManager[Mapping[str, Place]],
    proving: AbstractAsyncContextManager[Proving],
    size: Size,
    notes: Notes,
    until: float,
) -> tuple[int, Counter[str]]:
    """How many were done, and the calls of each server before them."""
    async with AsyncExitStack() as stack:
        counts = {place: await stack.enter_async_context(made) for place, made in decisions.places(redis).items()}
        kept = await stack.enter_async_context(books)
        proved = await stack.enter_async_context(proving)
        warming = Notes()
        for server in measured:  # Whatever is done only once is done by then.
            await measure(server, replace(size, calls=min(20, size.calls), streams=1), warming)
        await decide(counts, replace(size, decisions=MANY), warming)
        await keep(kept, replace(size, rows=MANY), warming)
        await prove(proved, replace(size, proofs=MANY), warming)
        for done in range(size.rounds):
            began = time.perf_counter()
            tell(f"round {done + 1} of {size.rounds}")
            forth = done % 2 == 0
            for server in measured if forth else reversed(measured):
                before = redis.scripts_run() if redis else 0
                await measure(server, size, notes)
                if redis and server.plan.name == IN_REDIS:
                    notes.scripts += redis.scripts_run() - before
            await decide(counts if forth else dict(reversed(counts.items())), size, notes)
            await keep(kept if forth else dict(reversed([*kept.items()])), size, notes)
            await prove(proved, size, notes)
            if 2 * time.perf_counter() - began > until:
                return done + 1, warming.calls
    return size.rounds, warming.calls


def tell(progress: str) -> None:
    print(f"bench: {progress}", file=sys.stderr, flush=True)
