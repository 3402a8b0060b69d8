import asyncio
import threading

import pytest

from proxy.aside import LARGE, aside
from proxy.errors import NotUnderstood


def where(word: str, *, number: int) -> tuple[int, str, int]:
    return threading.get_ident(), word, number


async def test_what_is_small_is_done_at_once() -> None:
    assert (threading.get_ident(), "a", 1) == await aside(LARGE - 1, where, "a", number=1)


async def test_what_is_large_is_done_beside_the_loop() -> None:
    thread, word, number = await aside(LARGE, where, "a", number=1)

    assert threading.get_ident() != thread
    assert ("a", 1) == (word, number)


@pytest.mark.parametrize("size", [0, LARGE])
async def test_what_it_raises_is_raised_here(size: int) -> None:
    def refuse() -> None:
        raise NotUnderstood("No.")

    with pytest.raises(NotUnderstood, match=r"^No\.$"):
        await aside(size, refuse)


async def test_others_go_on_meanwhile() -> None:
    may_end = threading.Event()
    working = asyncio.create_task(aside(LARGE, may_end.wait, 5.0))
    await asyncio.sleep(0)
    may_end.set()  # Were it done on the loop, nobody could have come here before its five seconds were over.

    assert await working
