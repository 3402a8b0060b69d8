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
    OVERSHOOT,
    ROUNDS,
    UNSEEN,
    Bounds,
    Tally,
    Told,
    bounds_of,
    floor_of,
    length_of,
    object_in,
    prompt_floor,
    seconds,
)
from proxy.policy import endpoints
from proxy.vocabulary import Ask, Usage

BOUNDS = Bounds(3, 100, 50)
JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=2) | some.dictionaries(some.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
TOLD = some.builds(Told, JSON, JSON, some.tuples(JSON, JSON, JSON), some.booleans(), some.booleans())


def tallied(*told: Told, pieces: int = 0) -> Usage:
    tally = Tally(BOUNDS, pieces)
    for one in told:
        tally.tell(one)
    return tally.usage


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
    tally = Tally(BOUNDS)
    tally.pieces += 2
    assert Usage(3, 2, exact=False) == tally.usage

    tally.tell(Told(1, 2))
    assert Usage(1, 2) == tally.usage


def test_counts_up_to_their_bounds_are_exact() -> None:
    assert Usage(100, 50) == tallied(Told(100, 50))
    assert Usage(1, 0) == tallied(Told(1, 0))


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (Told(101, 7), Usage(100, 7, exact=False, suspicious=True)),
        (Told(11, 51), Usage(11, 50, exact=False, suspicious=True)),
        (Told(10**30, 10**30), Usage(100, 50, exact=False, suspicious=True)),
        (Told(-11, 7), Usage(3, 7, exact=False, suspicious=True)),
        (Told(11, -7), Usage(11, 0, exact=False, suspicious=True)),
    ],
)
def test_a_count_beyond_its_bound_is_cut_to_it_and_suspicious(told: Told, usage: Usage) -> None:
    assert usage == tallied(told)


@pytest.mark.parametrize("found", [True, False, "7", 7.0, float("inf"), float("nan"), [7], {"tokens": 7}])
def test_what_is_no_count_is_as_good_as_none_and_suspicious(found: Any) -> None:
    assert Usage(3, 0, exact=False, suspicious=True) == tallied(Told(found, 0))
    assert Usage(11, 2, exact=False, suspicious=True) == tallied(Told(11, found), pieces=2)


def test_a_count_of_a_prompt_that_is_left_out_is_a_floor_though_nobody_lied() -> None:
    assert Usage(3, 7, exact=False) == tallied(Told(None, 7))
    assert Usage(3, 7, exact=False) == tallied(Told(0, 7))


@pytest.mark.parametrize("counts", [(None, None), (0, 0)])
def test_zeros_are_true_where_the_model_was_not_asked_and_only_there(counts: tuple[Any, Any]) -> None:
    assert Usage(0, 0) == tallied(Told(*counts, idle=True))
    assert Usage(3, 0, exact=False) == tallied(Told(*counts))
    assert Usage(3, 1, exact=False) == tallied(Told(*counts, spoke=True, idle=True))


def test_a_count_below_the_pieces_that_were_seen_is_raised_to_them() -> None:
    assert Usage(11, 3, exact=False) == tallied(Told(11, 2), pieces=3)
    assert Usage(11, 3, exact=False) == tallied(Told(11), pieces=3)
    assert Usage(11, 1, exact=False) == tallied(Told(11, spoke=True))


def test_pieces_that_were_seen_are_not_cut_whatever_was_allowed() -> None:
    assert Usage(11, 60) == tallied(Told(11, 60), pieces=60)
    assert Usage(11, 60, exact=False, suspicious=True) == tallied(Told(11, 61), pieces=60)


def test_a_count_that_falls_is_suspicious_and_one_that_rises_is_not() -> None:
    assert Usage(11, 7) == tallied(Told(11, 5), Told(11, 7))
    assert Usage(11, 7, exact=False, suspicious=True) == tallied(Told(11, 7), Told(11, 5))
    assert Usage(11, 7, exact=False, suspicious=True) == tallied(Told(11, 5), Told(4, 7))
    assert Usage(11, 7) == tallied(Told(11, 7), Told())


def test_durations_are_kept_beside_the_counts() -> None:
    told = Told(11, 7, (500_000_000, 1_000_000_000, None))

    assert Usage(11, 7, load_seconds=0.5, prompt_seconds=1.0) == tallied(told)


@pytest.mark.parametrize("wrong", [-1, "1", True, MOST_SECONDS * 10**9 + 1, float("nan"), [1]])
def test_one_duration_that_cannot_be_makes_all_of_them_worthless(wrong: Any) -> None:
    usage = tallied(Told(11, 7, (1, wrong, 2)))

    assert Usage(11, 7, exact=False, suspicious=True) == usage
    assert usage.phases_seconds is None


@given(some.lists(TOLD, max_size=4), some.integers(0, 200))
def test_whatever_stands_in_the_place_of_counts_they_stay_between_their_bounds(told: list[Told], pieces: int) -> None:
    usage = tallied(*told, pieces=pieces)

    assert 0 <= usage.prompt_tokens <= 100
    assert pieces <= usage.completion_tokens <= max(50, pieces, 1)
    assert {int} == {type(usage.prompt_tokens), type(usage.completion_tokens)}
    assert not (usage.suspicious and usage.exact)
    assert usage.phases_seconds is None or 0 <= usage.phases_seconds <= 3 * MOST_SECONDS


def asked(path: str = "/api/chat", **told: Any) -> Ask:
    return Ask(endpoints.find("POST", path)[0], **told)


def test_bounds_are_by_what_was_reckoned_and_by_the_limit_that_was_sent() -> None:
    ask = asked(prompt_floor=7, prompt_most=1000)

    assert Bounds(7, 16_000 + UNSEEN, 100 + OVERSHOOT) == bounds_of(ask, b"100")


@pytest.mark.parametrize("limit", [b"null", b"0", b"-1", b"-2", b"1.5", b'"7"', b"[]", b"", b"9" * 5000, b"\xff"])
def test_what_limits_nothing_is_no_bound(limit: bytes) -> None:
    assert Bounds(7, MOST_TOKENS, MOST_TOKENS) == bounds_of(asked(prompt_floor=7), limit)


def test_no_bound_is_beyond_the_most_of_all() -> None:
    assert Bounds(0, MOST_TOKENS, MOST_TOKENS) == bounds_of(asked(prompt_most=MOST_TOKENS), b"%d" % MOST_TOKENS)


@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings", "/v1/embeddings"])
def test_an_embedding_has_no_tokens_but_those_of_its_prompt(path: str) -> None:
    assert 0 == bounds_of(asked(path)).completion_most


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
def test_where_ollama_may_search_the_web_an_answer_is_counted_as_often_as_it_asks_again(path: str) -> None:
    once, often = asked(path, prompt_most=10), asked(path, prompt_most=10, fields={"tools": b"[]"})

    assert ROUNDS * bounds_of(once, b"10").prompt_most == bounds_of(often, b"10").prompt_most
    assert ROUNDS * bounds_of(once, b"10").completion_most == bounds_of(often, b"10").completion_most


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


@pytest.mark.parametrize(
    "text", ["why is the sky blue?", "почему небо голубое?", "空はなぜ青いのですか", "ทำไมท้องฟ้าถึงเป็นสีฟ้า"]
)
@pytest.mark.parametrize("escaped", [True, False])
def test_the_least_of_a_prompt_goes_by_its_characters_however_they_are_written(text: str, escaped: bool) -> None:
    said = json.dumps(text * 10, ensure_ascii=escaped).encode()

    assert (len(text) * 10 + 2) // 5 == floor_of({"prompt": said}, ["prompt"])


def test_the_length_of_a_prompt_is_that_of_its_members_whatever_is_in_them() -> None:
    assert 7 + 4 == length_of({"system": b'"a b c"', "messages": b"null", "model": b'"m"'}, ["system", "messages", "x"])


def test_words_that_are_nearly_too_long_are_gone_through_once() -> None:
    words = (b"a" * (LONGEST_WORD - 1) + b" ") * 20_000
    began = time.process_time()

    assert len(words) // 5 == floor_of({"prompt": words}, ["prompt"])
    assert time.process_time() - began < 2  # It takes a quarter of a second, and took five.
