import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from proxy.dialects.counts import (
    LONGEST_WORD,
    MOST_SECONDS,
    MOST_TOKENS,
    Tally,
    count,
    floor_of,
    length_of,
    object_in,
    prompt_floor,
    seconds,
)
from proxy.vocabulary import Usage


@pytest.mark.parametrize("told", [0, 1, 4096, MOST_TOKENS])
def test_a_count_is_believed(told: int) -> None:
    assert told == count(told)


@pytest.mark.parametrize(
    "told", [None, -1, MOST_TOKENS + 1, 10**30, True, False, "7", 7.0, float("inf"), float("nan"), [7], {"tokens": 7}]
)
def test_what_is_no_count_is_none(told: Any) -> None:
    found = count(told)

    assert (0, int) == (found, type(found))


@pytest.mark.parametrize(
    ("told", "found"), [(0, 0.0), (1, 1e-9), (1_500_000_000, 1.5), (2.5e9, 2.5), (MOST_SECONDS * 10**9, MOST_SECONDS)]
)
def test_a_duration_is_told_in_nanoseconds(told: float, found: float) -> None:
    assert found == seconds(told)


@pytest.mark.parametrize(
    "told", [None, -1, True, "1", [1], float("inf"), float("nan"), -float("inf"), 10**400, MOST_SECONDS * 10**9 + 1]
)
def test_what_is_no_duration_is_not_told(told: Any) -> None:
    assert seconds(told) is None


@pytest.mark.parametrize(("characters", "tokens"), [(0, 0), (4, 0), (5, 1), (1000, 200)])
def test_a_floor_stays_below_what_english_costs(characters: int, tokens: int) -> None:
    assert tokens == prompt_floor(characters)


def test_a_tally_is_a_floor_until_it_is_told() -> None:
    tally = Tally(3)
    tally.pieces += 2
    assert Usage(3, 2, exact=False) == tally.usage

    tally.tell(Usage(1, 1))
    tally.pieces += 1
    assert Usage(1, 1) == tally.usage


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"a":1}', {"a": 1}),
        (b' {"a":1}\r', {"a": 1}),
        (b"", None),
        (b"[1]", None),
        (b"null", None),
        (b'{"a":', None),
        (b'{"a":"\xff"}', None),
        (b'{"\xff":1}', None),
        (b'{"a":NaN}', None),
        (b'{"a":1e999}', None),
        (b'{"a":' * 100_000, None),
        (b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_a_backend_says_is_an_object_or_nothing(text: bytes, found: Any) -> None:
    assert found == object_in(text)


@given(some.binary())
def test_no_bytes_make_the_reader_fail(text: bytes) -> None:
    assert isinstance(object_in(text), dict | None)


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [
        ([{"role": "user", "content": "why is the sky blue?"}], 4),
        ([{"role": "user", "content": "hi"}] * 10, 12),
        ([{"role": "user", "content": "look", "images": ["QUJD" * 100_000]}], 4),
        ([{"role": "user", "content": "\u2603" * 10}], 2),
        ("", 0),
    ],
)
def test_the_least_of_a_prompt_is_reckoned_from_its_text_alone(prompt: object, tokens: int) -> None:
    assert tokens == floor_of({"messages": json.dumps(prompt).encode()}, ["messages", "input"])


def test_the_length_of_a_prompt_is_that_of_its_members_whatever_is_in_them() -> None:
    assert 7 + 4 == length_of({"system": b'"a b c"', "messages": b"null", "model": b'"m"'}, ["system", "messages", "x"])


def test_words_that_are_nearly_too_long_are_gone_through_once() -> None:
    words = (b"a" * (LONGEST_WORD - 1) + b" ") * 20_000
    began = time.process_time()

    assert len(words) // 5 == floor_of({"prompt": words}, ["prompt"])
    assert time.process_time() - began < 2  # It takes a quarter of a second, and took five.
