import asyncio
import time

import pytest

from proxy.limits.redis.patience import LOOKS, Watch, patience

SECONDS = 0.05


def busy(seconds: float) -> None:
    """This process computes, and hears nothing meanwhile."""
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        pass


async def test_who_does_not_answer_is_given_up() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with patience(SECONDS):
            await asyncio.Event().wait()

    assert time.monotonic() - began >= SECONDS


async def test_who_answers_in_time_is_heard() -> None:
    async with patience(SECONDS):
        await asyncio.sleep(0)


async def test_the_time_for_which_this_process_was_busy_is_nobody_elses_fault() -> None:
    answer = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(busy, 3 * SECONDS)
    asyncio.get_running_loop().call_later(SECONDS * 3.2, answer.set_result, "here")
    async with patience(SECONDS):
        told = await answer

    assert "here" == told


async def test_a_loop_that_is_always_late_gives_up_too() -> None:
    looks = 0

    def is_late() -> None:
        nonlocal looks
        looks += 1
        busy(SECONDS / LOOKS)
        again.append(asyncio.get_running_loop().call_soon(is_late))

    again = [asyncio.get_running_loop().call_soon(is_late)]
    with pytest.raises(TimeoutError):
        async with patience(SECONDS):
            await asyncio.Event().wait()
    again[-1].cancel()

    assert looks >= LOOKS


async def test_a_cancelled_wait_is_cancelled() -> None:
    async def wait() -> None:
        async with patience(SECONDS):
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_one_watch_gives_up_on_each_answer_in_its_time_and_not_before() -> None:
    watch, loop = Watch(SECONDS), asyncio.get_running_loop()
    began = loop.time()
    answers: list[asyncio.Future[str]] = [loop.create_future() for _ in range(5)]
    waited: list[float] = []
    for number, answer in enumerate(answers):
        answer.add_done_callback(lambda _: waited.append(loop.time()))
        loop.call_later(number * SECONDS / 3, watch.over, answer)
    answers[2].set_result("here")
    given_up = await asyncio.gather(*answers, return_exceptions=True)

    assert ["TimeoutError", "TimeoutError", "str", "TimeoutError", "TimeoutError"] == [
        type(one).__name__ for one in given_up
    ]
    assert all(at - began >= SECONDS * (1 + number / 3) for number, at in zip((0, 1, 3, 4), waited[1:], strict=True))


async def test_a_watch_does_not_mind_this_process_being_busy() -> None:
    watch, loop = Watch(SECONDS), asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()
    watch.over(answer)
    busy(3 * SECONDS)
    loop.call_soon(answer.set_result, "here")

    assert "here" == await answer


async def test_nobody_to_watch_is_no_timer() -> None:
    watch, loop = Watch(SECONDS), asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()
    watch.over(answer)
    answer.set_result("here")
    while watch._next is not None:  # noqa: ASYNC110 - there is nothing to wait for, which is the point
        await asyncio.sleep(SECONDS / LOOKS)

    assert not watch._awaited
