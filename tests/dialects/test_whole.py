import tracemalloc
from typing import Any

import pytest

from proxy.dialects.whole import LONGEST_ANSWER, FreeMeter, WholeMeter
from proxy.vocabulary import Usage
from tests.dialects.recorded import seen


def told(answer: dict[str, Any]) -> Usage | None:
    return Usage(answer["n"], 0) if "n" in answer else None


@pytest.mark.parametrize(
    ("answer", "usage", "complete"),
    [
        (b'{"n":7}', Usage(7, 0), True),
        (b' {"n":7}\r\n', Usage(7, 0), True),
        (b'{"m":7}', Usage(3, 0, exact=False), True),
        (b"", Usage(3, 0, exact=False), False),
        (b'{"n":7', Usage(3, 0, exact=False), False),
        (b'{"n":7}{"n":8}', Usage(3, 0, exact=False), False),
        (b"<html>", Usage(3, 0, exact=False), False),
        (b'[{"n":7}]', Usage(3, 0, exact=False), False),
    ],
)
def test_an_answer_is_read_once_it_has_ended(answer: bytes, usage: Usage, complete: bool) -> None:
    found = seen(WholeMeter(3, told), *(bytes([byte]) for byte in answer))

    assert (answer, usage, complete, False) == (found.shown, found.usage, found.complete, found.failed)


def test_before_its_end_an_answer_costs_the_floor() -> None:
    meter = WholeMeter(3, told)
    meter.feed(b'{"n":7}')

    assert Usage(3, 0, exact=False) == meter.usage
    assert not meter.complete


def test_counts_are_found_behind_members_too_large_to_be_made_objects() -> None:
    vectors = b",".join([b"0.12345678"] * 100_000)

    answer = b'{"data":[' + vectors + b'],"n":7}'
    tracemalloc.start()

    assert Usage(7, 0) == seen(WholeMeter(3, told), answer).usage

    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2.5 * len(answer)


def test_an_answer_too_long_to_hold_passes_and_costs_the_floor() -> None:
    piece = b" " * (1 << 20)
    meter = WholeMeter(3, told)
    tracemalloc.start()
    for _ in range(2 * LONGEST_ANSWER // len(piece)):
        assert piece is meter.feed(piece)
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held < len(piece)
    assert most < LONGEST_ANSWER * 1.5
    assert b"" == meter.end()
    assert (Usage(3, 0, exact=False), True) == (meter.usage, meter.complete)


def test_what_is_free_is_whole_from_the_beginning() -> None:
    meter = FreeMeter()

    assert b"anything" == meter.feed(b"anything") + meter.end()
    assert (Usage(), True, False) == (meter.usage, meter.complete, meter.failed)
