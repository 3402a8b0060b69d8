"""Rounds in which all servers are measured in turns, and one load of one of them."""

import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

from bench.figures import Notes
from bench.load import Heard, Question, ask_all, connected
from bench.servers import Running
from bench.stand import tell

LOAD_SECONDS = 1.2
"""The most that one load takes, however slow the server is."""

Measure = Callable[[Running], Coroutine[None, None, None]]


async def in_turns(group: str, servers: Sequence[Running], rounds: int, seconds: float, measure: Measure) -> None:
    """Forth, then back, and so on: at least one round, and none that would end after these seconds."""
    async for number in turns(group, rounds, seconds):
        for server in servers if number % 2 == 0 else reversed(servers):
            await measure(server)


async def turns(group: str, rounds: int, seconds: float) -> AsyncIterator[int]:
    """The numbers of the rounds, as long as another one fits."""
    until = time.perf_counter() + seconds
    for number in range(rounds):
        began = time.perf_counter()
        tell(f"{group}, round {number + 1} of {rounds}")
        yield number
        if 2 * time.perf_counter() - began > until:
            return


async def load(
    notes: Notes,
    server: Running,
    question: Question,
    clients: int,
    calls: int,
    *,
    connected_before: bool = False,
    spread: float = 0.0,
    keys: Sequence[str] = (),
    seconds: float = LOAD_SECONDS,
) -> tuple[Heard, float]:
    """What was heard, and the CPU seconds of the server for each call. ``keys`` are used in turns.

    Where clients were connected before, on both sides of the server, connecting them is no part of it.
    """
    plan = server.plan
    async with connected(plan.port, clients) as connections:
        requests = [question.request(plan.port, key, plan.fields) for key in keys or [plan.key]]
        if connected_before:
            first = await ask_all(connections, question, requests, clients, seconds, exact=plan.exact)
            notes.calls[plan.name] += first.calls
        before = server.cpu_seconds()
        heard = await ask_all(connections, question, requests, calls, seconds, exact=plan.exact, spread=spread)
        cpu = server.cpu_seconds() - before
    notes.calls[plan.name] += heard.calls
    return heard, cpu / heard.calls
