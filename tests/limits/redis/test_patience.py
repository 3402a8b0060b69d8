import asyncio
import time

import pytest

from proxy.limits.redis.patience import LOOKS, patience

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
