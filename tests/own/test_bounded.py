import asyncio

import pytest

from proxy.errors import RateLimited, StorageFailed
from proxy.own.bounded import AT_ONCE, FRESH_SECONDS, MOST_WAITING, Bounded
from tests.fakes.clock import FakeClock


class Looking:
    """Something that takes until it is allowed to end."""

    def __init__(self) -> None:
        self.begun = 0
        self.at_once = 0
        self.most_at_once = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.fails = False

    async def __call__(self) -> bytes:
        self.begun += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.may_end.wait()
            if self.fails:
                raise StorageFailed
            return f"answer {self.begun}".encode()
        finally:
            self.at_once -= 1


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def some_turns() -> None:
    """Long enough for whatever can go on to do so."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_the_same_question_is_looked_into_once_a_second(clock: FakeClock) -> None:
    bounded, looking = Bounded(clock), Looking()
    told = [await bounded.answer("k1", "why?", looking) for _ in range(100)]
    clock.seconds += FRESH_SECONDS
    again = await bounded.answer("k1", "why?", looking)

    assert ({b"answer 1"}, b"answer 2") == (set(told), again)


async def test_many_who_ask_the_same_at_once_wait_for_one_look(clock: FakeClock) -> None:
    bounded, looking = Bounded(clock), Looking()
    told = await asyncio.gather(*(bounded.answer("k1", "why?", looking) for _ in range(MOST_WAITING)))

    assert [b"answer 1"] * MOST_WAITING == told


async def test_another_question_and_another_key_have_answers_of_their_own(clock: FakeClock) -> None:
    bounded, looking = Bounded(clock), Looking()
    told = [
        await bounded.answer(key, question, looking)
        for key, question in (("k1", "why?"), ("k1", "how?"), ("k2", "how?"), ("k1", "how?"))
    ]

    assert [b"answer 1", b"answer 2", b"answer 3", b"answer 2"] == told


async def test_of_one_key_one_question_is_looked_into_at_a_time_and_of_all_two(clock: FakeClock) -> None:
    bounded, looking = Bounded(clock), Looking()
    looking.may_end.clear()
    asking = [
        asyncio.create_task(bounded.answer(key, question, looking))
        for key in ("k1", "k2", "k3")
        for question in ("why?", "how?", "who?")
    ]
    await some_turns()
    begun = looking.begun
    looking.may_end.set()
    await asyncio.gather(*asking)

    assert (AT_ONCE, AT_ONCE, 9) == (begun, looking.most_at_once, looking.begun)


async def test_who_asks_too_much_at_once_is_told_to_come_back_and_nobody_else_is(clock: FakeClock) -> None:
    bounded, looking = Bounded(clock), Looking()
    looking.may_end.clear()
    asking = [asyncio.create_task(bounded.answer("k1", number, looking)) for number in range(MOST_WAITING)]
    await some_turns()
    with pytest.raises(RateLimited) as refused:
        await bounded.answer("k1", "one more", looking)
    other = asyncio.create_task(bounded.answer("k2", "why?", looking))
    await some_turns()
    looking.may_end.set()
    await asyncio.gather(*asking, other)

    assert ("1", 429) == (refused.value.headers["Retry-After"], refused.value.status)
    assert b"answer" in await bounded.answer("k1", "one more", looking)


async def test_who_leaves_makes_room_and_what_fails_is_asked_again(clock: FakeClock) -> None:
    bounded, looking = Bounded(clock), Looking()
    looking.may_end.clear()
    leaving = [asyncio.create_task(bounded.answer("k1", number, looking)) for number in range(MOST_WAITING)]
    await some_turns()
    for task in leaving:
        task.cancel()
    await asyncio.wait(leaving)
    looking.may_end.set()
    looking.fails = True
    with pytest.raises(StorageFailed):
        await bounded.answer("k1", "why?", looking)
    looking.fails = False

    assert (b"answer 3", 0) == (await bounded.answer("k1", "why?", looking), looking.at_once)


async def test_keys_that_ask_no_more_are_forgotten(clock: FakeClock) -> None:
    bounded, looking = Bounded(clock), Looking()
    for number in range(100):
        await bounded.answer(f"k{number}", "why?", looking)
    clock.seconds += FRESH_SECONDS
    await bounded.answer("k1", "how?", looking)

    assert ["k1"] == list(bounded._asked)
