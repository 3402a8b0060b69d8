import json
import os
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.control import answering
from proxy.bootstrap.gathering import STALE_SECONDS, Gathering, together
from proxy.bootstrap.sharing import Board
from proxy.bootstrap.workers import Place, Worker
from proxy.telemetry.metrics import Metrics
from proxy.web.health import Check, Readiness
from tests.fakes.clock import FakeClock
from tests.telemetry.test_metrics import ENTRY

GOOD = Readiness({"database": Check(True), "draining": Check(True, "no")}, {"upstream": "answers"})
DRAINING = Readiness({"database": Check(True), "draining": Check(False, "yes")})


@dataclass
class House:
    """Two workers in one process, each as if it were alone in its own."""

    board: Board
    places: tuple[Place, ...]
    clock: FakeClock
    metrics: list[Metrics]
    gatherings: list[Gathering]
    states: list[Readiness]

    def again(self, number: int) -> None:
        """Another worker in this slot."""
        self.metrics[number] = Metrics()
        self.metrics[number].asks(lambda: {"llamagate_workers": 1, "llamagate_workers_replaced_total": 1})
        self.gatherings[number] = Gathering(
            self.places[number], lambda: self.states[number], self.metrics[number], self.clock
        )

    async def figures(self, number: int) -> Mapping[str, float]:
        """As this worker tells them, whatever their labels."""
        _, text = await self.gatherings[number].text()
        sums: defaultdict[str, float] = defaultdict(float)
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                sums[sample.name] += sample.value
        return sums


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    board, clock = Board(2), FakeClock()
    workers = tuple(Worker(number, f"\0llamagate-test-{os.getpid()}-{number}") for number in range(2))
    sockets = [socket.socket(socket.AF_UNIX) for _ in workers]
    for worker, one in zip(workers, sockets, strict=True):
        one.setblocking(False)
        one.bind(worker.address)
    places = tuple(
        Place(board.slots[number], board, workers, (), (), sockets[number], None, -1, is_first=True)
        for number in range(2)
    )
    here = House(board, places, clock, [Metrics(), Metrics()], [], [GOOD, GOOD])
    for number, metrics in enumerate(here.metrics):
        metrics.asks(lambda: {"llamagate_workers": 1, "llamagate_workers_replaced_total": 0})
        here.gatherings.append(
            Gathering(places[number], lambda number=number: here.states[number], metrics, clock)  # type: ignore[misc]
        )
        board.slots[number].opened()
    try:
        yield here
    finally:
        for one in sockets:
            one.close()


@asynccontextmanager
async def answers(house: House, *numbers: int) -> AsyncIterator[None]:
    async with AsyncExitStack() as talks:
        for number in numbers:
            handlers: Mapping[str, Any] = house.gatherings[number].handlers()
            await talks.enter_async_context(answering(house.places[number].asked_at, handlers))
        yield


async def test_whichever_worker_is_asked_the_figures_are_those_of_all() -> None:
    async with house() as here, answers(here, 0, 1):
        for metrics in (here.metrics[0], here.metrics[1], here.metrics[1]):
            metrics.recorded(ENTRY)
        told = [await here.figures(number) for number in range(2)]

    assert [(3, 2)] * 2 == [(one["llamagate_calls_total"], one["llamagate_workers"]) for one in told]


async def test_a_counter_goes_on_over_the_death_of_a_worker() -> None:
    async with house() as here:
        for _ in range(5):
            here.metrics[1].recorded(ENTRY)
        async with answers(here, 1):
            before = await here.figures(0)
        here.board.slots[1].vacate()
        amid = await here.figures(0)
        here.again(1)
        here.metrics[1].recorded(ENTRY)
        await here.gatherings[1].keep()
        after = await here.figures(1)

    assert [5, 5, 6] == [one["llamagate_calls_total"] for one in (before, amid, after)]
    assert [2, 1] == [one["llamagate_workers"] for one in (before, amid)], "a gauge is only of those who answer"
    assert [0, 0, 1] == [one["llamagate_workers_replaced_total"] for one in (before, amid, after)]


async def test_all_are_ready_if_each_is() -> None:
    async with house() as here:
        for gathering in here.gatherings:
            gathering.show()
        ready = here.gatherings[0].readiness()
        here.states[1] = DRAINING
        here.gatherings[1].show()
        draining = here.gatherings[0].readiness()

    assert (True, "2 of 2", {"upstream": "answers"}) == (ready.is_ready, ready.checks["workers"].says, ready.besides)
    assert ["draining"] == draining.told()["failing"]


async def test_a_worker_that_hangs_or_has_gone_makes_it_fail() -> None:
    async with house() as here:
        for gathering in here.gatherings:
            gathering.show()
        here.clock.seconds += STALE_SECONDS + 0.1
        hanging = here.gatherings[0].readiness()
        here.gatherings[1].show()
        well = here.gatherings[0].readiness()
        here.board.slots[1].vacate()
        here.gatherings[1].show()
        opening = here.gatherings[0].readiness()

    assert [False, True, False] == [one.is_ready for one in (hanging, well, opening)]
    assert ["1 of 2", "1 of 2"] == [one.checks["workers"].says for one in (hanging, opening)]
    assert ["workers"] == hanging.told()["failing"]


def test_what_fails_somewhere_is_told_in_its_words() -> None:
    full = replace(GOOD, checks={**GOOD.checks, "journal": Check(False, "full")})
    whole = together([GOOD, full, DRAINING, None])

    assert {"database": "ok", "draining": "yes", "journal": "full", "workers": "3 of 4"} == whole.told()["checks"]
    assert ["draining", "journal", "workers"] == sorted(map(str, json.loads(json.dumps(whole.told()["failing"]))))


@pytest.mark.parametrize("told", [b"", b"[]"])
async def test_a_slot_without_figures_begins_with_none(told: bytes) -> None:
    async with house() as here:
        here.board.slots[0].figures.write(told)
        here.again(0)

        assert 0 == (await here.figures(0))["llamagate_gpu_seconds_total"]
