import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from proxy.backends.catalogue import COOL_DOWN_SECONDS, REFRESH_SECONDS, Catalogue
from proxy.errors import BackendDown, BackendFailed
from tests.fakes.clock import FakeClock


class Box:
    """A backend's list, told when it may be."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.asked = 0
        self.fails = False
        self.may_tell = asyncio.Event()
        self.may_tell.set()

    async def tell(self) -> Mapping[str, Any]:
        self.asked += 1
        await self.may_tell.wait()
        if self.fails:
            raise BackendDown
        return {"names": list(self.names)}


def read(told: Mapping[str, Any]) -> dict[str, int]:
    return {name: len(name) for name in told["names"]}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def over(box: Box, clock: FakeClock) -> Catalogue[str, int]:
    return Catalogue(box.tell, read, clock)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_known_is_not_asked_for_again(clock: FakeClock) -> None:
    box = Box("a", "bb")
    catalogue = over(box, clock)

    assert {} == catalogue.known
    for _ in range(3):
        clock.seconds += 3600
        assert {"a": 1, "bb": 2} == await catalogue.holding("a")
    assert {"a": 1, "bb": 2} == catalogue.known
    assert 1 == box.asked


async def test_an_unknown_name_is_looked_up_at_once(clock: FakeClock) -> None:
    box = Box("a")
    catalogue = over(box, clock)
    await catalogue.holding("a")
    box.names.append("new")
    clock.seconds += COOL_DOWN_SECONDS

    assert "new" in await catalogue.holding("new")
    assert 2 == box.asked


async def test_who_keeps_asking_for_what_is_not_there_costs_one_look_a_second(clock: FakeClock) -> None:
    box = Box("a")
    catalogue = over(box, clock)
    for _ in range(40):
        assert {"a": 1} == await catalogue.holding("absent")
        clock.seconds += COOL_DOWN_SECONDS / 4

    assert 10 == box.asked


async def test_many_who_want_the_same_wait_for_one_answer(clock: FakeClock) -> None:
    box = Box("a")
    box.may_tell.clear()
    catalogue = over(box, clock)
    waiting = [asyncio.create_task(catalogue.holding(name)) for name in ("a", "b", "a")]
    waiting.append(asyncio.create_task(catalogue.holding("c")))
    await settled()
    box.may_tell.set()

    assert [{"a": 1}] * 4 == await asyncio.gather(*waiting)
    assert 1 == box.asked


async def test_who_asks_for_what_is_new_while_a_look_is_under_way_waits_for_it(clock: FakeClock) -> None:
    box = Box("a")
    catalogue = over(box, clock)
    await catalogue.holding("a")
    box.names.append("new")
    box.may_tell.clear()
    clock.seconds += COOL_DOWN_SECONDS
    waiting = [asyncio.create_task(catalogue.holding("new")) for _ in range(3)]
    await settled()
    box.may_tell.set()

    assert [{"a": 1, "new": 3}] * 3 == await asyncio.gather(*waiting)
    assert 2 == box.asked


async def test_one_who_leaves_does_not_take_the_answer_from_the_others(clock: FakeClock) -> None:
    box = Box("a")
    box.may_tell.clear()
    catalogue = over(box, clock)
    leaves, stays = (asyncio.create_task(catalogue.holding("a")) for _ in range(2))
    await settled()
    leaves.cancel()
    await settled()
    box.may_tell.set()

    assert {"a": 1} == await stays
    assert leaves.cancelled()
    assert 1 == box.asked


async def test_a_failure_keeps_the_last_list(clock: FakeClock) -> None:
    box = Box("a")
    catalogue = over(box, clock)
    await catalogue.holding("a")
    box.fails = True
    clock.seconds += COOL_DOWN_SECONDS

    assert {"a": 1} == await catalogue.holding("absent") == await catalogue.holding("a") == catalogue.known
    assert 2 == box.asked


async def test_while_nothing_is_known_the_failure_is_told_and_the_next_asks_again(clock: FakeClock) -> None:
    box = Box("a")
    box.fails = True
    catalogue = over(box, clock)
    for _ in range(2):
        with pytest.raises(BackendFailed):
            await catalogue.holding("a")
    box.fails = False

    assert {"a": 1} == await catalogue.holding("a")
    assert 3 == box.asked


async def test_everybody_who_waited_for_a_failure_hears_of_it(clock: FakeClock) -> None:
    box = Box()
    box.fails = True
    box.may_tell.clear()
    catalogue = over(box, clock)
    waiting = [asyncio.create_task(catalogue.holding("a")) for _ in range(3)]
    await settled()
    box.may_tell.set()
    heard = await asyncio.gather(*waiting, return_exceptions=True)

    assert [BackendDown] * 3 == [type(one) for one in heard]
    assert 1 == box.asked


async def test_an_empty_list_is_knowledge_too(clock: FakeClock) -> None:
    box = Box()
    catalogue = over(box, clock)

    assert {} == await catalogue.holding("a") == await catalogue.holding("a")
    assert 1 == box.asked


async def test_a_failure_that_nobody_waits_for_is_no_warning(clock: FakeClock) -> None:
    box = Box()
    box.fails = True
    box.may_tell.clear()
    catalogue = over(box, clock)
    waiting = asyncio.create_task(catalogue.holding("a"))
    await settled()
    waiting.cancel()
    await settled()
    box.may_tell.set()
    await settled()
    box.fails = False

    assert {} == await catalogue.holding("a")


async def test_it_is_kept_fresh_for_ever_whether_or_not_the_backend_answers(clock: FakeClock) -> None:
    box = Box()
    catalogue = over(box, clock)
    seen: list[Mapping[str, int]] = []

    class Enough(Exception):
        pass

    async def pause(seconds: float) -> None:
        assert REFRESH_SECONDS == seconds
        seen.append(catalogue.known)
        box.names, box.fails = [f"n{len(seen)}"], len(seen) == 1
        if len(seen) == 3:
            raise Enough

    with pytest.raises(Enough):
        await catalogue.keep_fresh(pause)

    assert [{}, {}, {"n2": 2}] == seen
    assert 3 == box.asked


async def test_what_has_expired_is_looked_at_anew_even_by_who_names_nothing(clock: FakeClock) -> None:
    box = Box("a")
    catalogue = over(box, clock)
    await catalogue.holding("a")
    box.names = ["b"]
    catalogue.expire()

    assert {"b": 1} == await catalogue.holding(None)
    assert {"b": 1} == await catalogue.holding("b")
    assert 2 == box.asked


async def test_what_has_expired_stays_so_until_the_backend_answers(clock: FakeClock) -> None:
    box = Box("a")
    catalogue = over(box, clock)
    await catalogue.holding("a")
    catalogue.expire()
    box.fails = True

    assert {"a": 1} == await catalogue.holding("a")
    box.fails, box.names = False, ["b"]
    assert {"b": 1} == await catalogue.holding("a")


async def test_without_a_name_nothing_is_asked(clock: FakeClock) -> None:
    box = Box("a")

    assert {} == await over(box, clock).holding(None)
    assert 0 == box.asked
