import tracemalloc
from typing import Any

import pytest

from proxy.dialects.counts import Bounds, Told
from proxy.dialects.whole import LONGEST_ANSWER, LONGEST_COUNTS, EditedMeter, FreeMeter, WholeMeter
from proxy.vocabulary import Usage
from tests.dialects.recorded import cut, seen

FLOOR = Usage(3, 0, exact=False)


def told(answer: dict[str, Any]) -> Told | None:
    return Told(answer["n"], spoke=answer.get("said") is True) if "n" in answer else None


@pytest.mark.parametrize(
    ("answer", "usage", "complete"),
    [
        (b'{"n":7}', Usage(7, 0), True),
        (b' {"n":7}\r\n', Usage(7, 0), True),
        (b'{"n":7,"done":true}', Usage(7, 0), True),
        (b'{"n":7,"done":null}', Usage(7, 0), True),
        (b'{"m":7}', FLOOR, True),
        (b'{"m":{"done":false}}', FLOOR, True),
        (b"{}", FLOOR, True),
        (b'{"n":7,"done":false}', FLOOR, False),
        (b"", FLOOR, False),
        (b'{"n":7', FLOOR, False),
        (b'{"n":7}{"n":8}', FLOOR, False),
        (b"<html>", FLOOR, False),
        (b'[{"n":7}]', FLOOR, False),
        (b"null", FLOOR, False),
        (b"[" * 100_000, FLOOR, False),
    ],
    ids=lambda case: repr(case)[:30],
)
def test_an_answer_is_held_read_once_it_has_ended_and_shown_only_if_it_is_one(
    answer: bytes, usage: Usage, complete: bool
) -> None:
    meter = WholeMeter(Bounds(3), told)

    assert {b""} >= {meter.feed(piece) for piece in cut(answer, *range(0, len(answer), 1 + len(answer) // 100))}
    assert (answer if complete else b"") == meter.end()
    assert (usage, complete, False) == (meter.usage, meter.complete, meter.failed)
    assert (False, None) == (meter.rewrites, meter.content_type)


@pytest.mark.parametrize("error", [b'"it crashed"', b'{"message":"it crashed"}', b'"' + b"x" * 5000 + b'"'])
def test_an_error_told_with_a_good_status_is_no_answer(error: bytes) -> None:
    meter = WholeMeter(Bounds(3), told)

    assert b"" == meter.feed(b'{"n":7,"error":' + error + b"}") + meter.end()
    assert (FLOOR, False, True) == (meter.usage, meter.complete, meter.failed)


@pytest.mark.parametrize("error", [b"null", b'""'])
def test_an_error_that_is_none_is_no_failure(error: bytes) -> None:
    meter = seen(WholeMeter(Bounds(3), told), b'{"error": ' + error + b' ,"n":7}')

    assert (Usage(7, 0), True, False) == (meter.usage, meter.complete, meter.failed)


def test_before_its_end_an_answer_costs_the_floor() -> None:
    meter = WholeMeter(Bounds(3), told)

    assert b"" == meter.feed(b'{"n":7}')
    assert FLOOR == meter.usage
    assert not meter.complete


def test_counts_are_found_behind_members_too_large_to_be_made_objects() -> None:
    vectors = b",".join([b"0.12345678"] * 100_000)

    answer = b'{"data":[' + vectors + b'],"n":7}'
    tracemalloc.start()

    assert Usage(7, 0) == seen(WholeMeter(Bounds(3), told), answer).usage

    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2.5 * len(answer)


def test_of_a_member_too_large_to_be_made_an_object_it_is_known_that_it_is_there() -> None:
    answer = b'{"said":"' + b"x" * LONGEST_COUNTS + b'","n":7}'

    assert Usage(7, 1, exact=False) == seen(WholeMeter(Bounds(3), told), answer).usage


def test_an_answer_too_long_to_hold_passes_and_costs_the_floor() -> None:
    piece = b" " * (1 << 20)
    meter = WholeMeter(Bounds(3), told)
    given = 0
    tracemalloc.start()
    for number in range(2 * LONGEST_ANSWER // len(piece)):
        given += len(meter.feed(piece))
        assert given == (0 if (number + 1) * len(piece) <= LONGEST_ANSWER else (number + 1) * len(piece))
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held < len(piece)
    assert most < LONGEST_ANSWER * 2.5
    assert b"" == meter.end()
    assert (FLOOR, True) == (meter.usage, meter.complete)


def test_what_is_free_is_whole_once_it_has_ended() -> None:
    meter = FreeMeter()

    assert b"anything" == meter.feed(b"anything")
    assert not meter.complete
    assert b"" == meter.end()
    assert (Usage(), True, False) == (meter.usage, meter.complete, meter.failed)


def doubled(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "n": 2 * answer["n"]}


@pytest.mark.parametrize(
    ("answer", "shown", "complete"),
    [
        (b'{"n":7, "m":[1.50]}', b'{"n":14,"m":[1.5]}', True),
        (b"", b"", True),
        (b'{"n":7', b"", False),
        (b"[]", b"", False),
        (b"null", b"", False),
        (b"\n", b"", False),
    ],
)
def test_an_answer_that_is_seen_only_in_part_is_held_until_it_has_been_edited(
    answer: bytes, shown: bytes, complete: bool
) -> None:
    meter = EditedMeter(doubled)

    assert {b""} >= {meter.feed(bytes([byte])) for byte in answer}
    assert not meter.complete
    assert shown == meter.end()
    assert (Usage(), complete, False, True) == (meter.usage, meter.complete, meter.failed, meter.rewrites)


def test_an_answer_too_long_to_be_edited_is_not_shown() -> None:
    meter = EditedMeter(doubled)
    piece = b'{"n":7}'.ljust(LONGEST_ANSWER)

    assert b"" == meter.feed(piece) + meter.feed(b" ") + meter.feed(b"x" * len(piece)) + meter.end()
    assert not meter.complete
