from dataclasses import fields
from typing import Any

import pytest

from proxy.admin.amounts import AMOUNTS, SHORT, checked, in_words, read, told_of, used_up
from proxy.admin.refusals import NotDone
from proxy.config.limits import AmountSettings
from proxy.vocabulary import Limits

ALL = Limits(30, 10, 20_000, 5_000, 2, 500_000, 5_000_000, 7200.0)
RATES: dict[str, Any] = {"requests_per_minute": 1, "tokens_per_minute": 1}


def test_every_limit_that_there_is_can_be_a_keys_own() -> None:
    assert [field.name for field in fields(Limits)] == list(AMOUNTS)


@pytest.mark.parametrize("limits", [Limits(), ALL])
def test_limits_that_make_sense_pass(limits: Limits) -> None:
    assert limits == checked(limits)


@pytest.mark.parametrize("name", AMOUNTS)
def test_the_largest_amounts_are_those_that_a_plan_may_have(name: str) -> None:
    most: Any = {**RATES, name: AMOUNTS[name].most}
    more = {**most, name: AMOUNTS[name].most + 1}

    assert most[name] == getattr(AmountSettings(**most).limits, name) == getattr(checked(Limits(**most)), name)
    with pytest.raises(ValueError, match=name):
        AmountSettings(**more)
    with pytest.raises(NotDone, match=AMOUNTS[name].name):
        checked(Limits(**more))


@pytest.mark.parametrize("name", AMOUNTS)
@pytest.mark.parametrize("amount", [0, -1])
def test_no_limit_is_nothing_or_less(name: str, amount: int) -> None:
    with pytest.raises(NotDone, match=f"The {AMOUNTS[name].name} have to be"):
        checked(Limits(**{**RATES, name: amount}))


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(request_burst=5), "A burst of requests needs requests per minute, at which it comes back"),
        (Limits(token_burst=5, requests_per_minute=5), "A burst of tokens needs tokens per minute"),
    ],
)
def test_a_burst_needs_its_rate(limits: Limits, why: str) -> None:
    with pytest.raises(NotDone, match=why):
        checked(limits)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(), ""),
        (Limits(requests_per_minute=30, tokens_per_minute=20_000, concurrent=2), "30 rpm, 20000 tpm, 2 at once"),
        (
            ALL,
            "30 rpm, bursts of 10, 20000 tpm, bursts of 5000 tokens, 2 at once, 500000 tokens a day,"
            " 5000000 tokens a month, 2h of GPU a day",
        ),
    ],
)
def test_limits_are_told_shortly(limits: Limits, words: str) -> None:
    assert words == in_words(limits)


def test_only_limits_that_there_are_are_told() -> None:
    assert {"concurrent": 2} == told_of(Limits(concurrent=2))


def test_calls_use_up_what_comes_back_with_time_and_not_their_places() -> None:
    assert () == used_up(Limits(concurrent=2))
    assert (
        "requests per minute",
        "tokens per minute",
        "tokens per day",
        "tokens per month",
        "GPU seconds per day",
    ) == used_up(ALL)


def test_every_limit_has_a_short_word_but_the_burst_of_tokens() -> None:
    assert set(AMOUNTS) - {"token_burst"} == set(SHORT.values())


@pytest.mark.parametrize(
    ("field", "text", "amount"),
    [("requests_per_minute", "30", 30), ("concurrent", "0", 0), ("gpu_seconds_per_day", "1h30m", 5400.0)],
)
def test_an_amount_is_read_as_people_write_it(field: str, text: str, amount: float) -> None:
    assert amount == read(field, text)


@pytest.mark.parametrize(
    ("field", "text"), [("requests_per_minute", "1.5"), ("concurrent", "-1"), ("gpu_seconds_per_day", "soon")]
)
def test_what_is_no_amount_is_told(field: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"should be|not a duration"):
        read(field, text)
