from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.limits import Account, Claim, State
from proxy.limits.bucket import UNITS
from proxy.limits.verdict import Kind, Standing, after, fits, request_burst, standings, token_burst
from proxy.vocabulary import Level, Limits
from tests.fakes.moments import FakeMoments

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOW = FakeMoments(datetime(2026, 3, 30, 18, 0, tzinfo=UTC))()
"""Six hours before the day ends, and thirty before the month does."""


def account(*, level: Level = Level.KEY, shadow: bool = False, time_zone: str = "UTC", **limits: Any) -> Account:
    return Account(level, "k1", Limits(**limits), shadow=shadow, time_zone=time_zone)


def claim(of: Account, tokens: int = 0) -> Claim:
    return Claim("c1", (of,), tokens)


def standing(of: Account, state: State, tokens: int | None = None) -> Standing:
    """The only one that it has."""
    (found,) = standings(of, state, NOW, None if tokens is None else claim(of, tokens))
    return found


def numbers(of: Account, state: State, tokens: int | None = None) -> tuple[int, int, int, int, int | None]:
    found = standing(of, state, tokens)
    return found.most, found.left, found.full, found.window, found.wait


@pytest.mark.parametrize(
    ("used", "left", "full", "wait"),
    [
        (0, 10, 0, 0),
        (1, 9, 1, 0),
        (9 * UNITS, 1, 27 * SECOND, 0),
        (9 * UNITS + 1, 0, 27 * SECOND + 1, 1),
        (10 * UNITS, 0, 30 * SECOND, 3 * SECOND),
        (30 * UNITS, 0, 90 * SECOND, 63 * SECOND),
    ],
)
def test_requests_come_back_one_by_one(used: int, left: int, full: int, wait: int) -> None:
    of = account(requests_per_minute=20, request_burst=10)

    assert (10, left, full, 30 * SECOND, wait) == numbers(of, State(requests=used), 1000)


@pytest.mark.parametrize(
    ("used", "tokens", "left", "wait"),
    [(0, 100, 100, 0), (0, 0, 100, 0), (60 * UNITS, 40, 40, 0), (60 * UNITS, 41, 40, SECOND), (100 * UNITS, 0, 0, 0)],
)
def test_tokens_are_asked_for_in_the_amount_that_the_call_may_cost(
    used: int, tokens: int, left: int, wait: int
) -> None:
    of = account(tokens_per_minute=60, token_burst=100)

    assert (100, left, used // 60, 100 * SECOND, wait) == numbers(of, State(tokens=used), tokens)


@pytest.mark.parametrize(("concurrent", "left", "wait"), [(0, 2, 0), (1, 1, 0), (2, 0, None), (5, 0, None)])
def test_nobody_knows_when_a_call_ends(concurrent: int, left: int, wait: int | None) -> None:
    assert (2, left, 0, 0, wait) == numbers(account(concurrent=2), State(concurrent=concurrent), 0)


@pytest.mark.parametrize(
    ("used", "tokens", "left", "wait"),
    [(0, 100, 100, 0), (60, 40, 40, 0), (60, 41, 40, 6 * HOUR), (100, 1, 0, 6 * HOUR), (300, 0, 0, 6 * HOUR)],
)
def test_what_a_day_does_not_have_the_next_one_has(used: int, tokens: int, left: int, wait: int) -> None:
    assert (100, left, 6 * HOUR, DAY, wait) == numbers(account(tokens_per_day=100), State(day_tokens=used), tokens)


@pytest.mark.parametrize(("used", "tokens", "left", "wait"), [(60, 40, 40, 0), (60, 41, 40, 30 * HOUR)])
def test_what_a_month_does_not_have_the_next_one_has(used: int, tokens: int, left: int, wait: int) -> None:
    of = account(tokens_per_month=100)

    assert (100, left, 30 * HOUR, 31 * DAY, wait) == numbers(of, State(month_tokens=used), tokens)


@pytest.mark.parametrize(
    ("used", "left", "wait"), [(0, 1500, 0), (1499, 1, 0), (1500, 0, 6 * HOUR), (9000, 0, 6 * HOUR)]
)
def test_who_has_any_time_of_the_gpu_left_may_begin(used: int, left: int, wait: int) -> None:
    of = account(gpu_seconds_per_day=1.5)

    assert (1500, left, 6 * HOUR, DAY, wait) == numbers(of, State(day_gpu_ms=used), 10**6)


def test_a_day_ends_where_the_account_is_at_home() -> None:
    # There are two hours between Greenwich and the summer of Berlin, which has begun the day before.
    assert 4 * HOUR == standing(account(tokens_per_day=1, time_zone="Europe/Berlin"), State()).full


def test_without_a_claim_nothing_waits() -> None:
    of = account(
        requests_per_minute=1, tokens_per_minute=1, concurrent=1, tokens_per_day=1, tokens_per_month=1,
        gpu_seconds_per_day=1,
    )  # fmt: skip
    full = State(UNITS, UNITS, 1, 1, 1, 1000)

    assert list(Kind) == [one.kind for one in standings(of, full, NOW)]
    assert {(0, 0)} == {(one.left, one.wait) for one in standings(of, full, NOW)}


def test_what_has_no_limit_has_no_standing() -> None:
    assert [] == list(standings(account(), State(), NOW, claim(account())))


@pytest.mark.parametrize(
    ("level", "limits", "name"),
    [
        (Level.KEY, {"requests_per_minute": 1}, "key-requests"),
        (Level.USER, {"tokens_per_minute": 1}, "user-tokens"),
        (Level.TEAM, {"concurrent": 1}, "team-concurrent"),
        (Level.EVERYBODY, {"tokens_per_day": 1}, "everybody-tokens-day"),
        (Level.KEY, {"tokens_per_month": 1}, "key-tokens-month"),
        (Level.KEY, {"gpu_seconds_per_day": 1}, "key-gpu-day"),
    ],
)
def test_a_limit_is_named_by_whose_it_is_and_what_it_counts(level: Level, limits: dict[str, Any], name: str) -> None:
    assert name == standing(account(level=level, **limits), State()).name


@pytest.mark.parametrize("limits", [{"concurrent": 1}, {"tokens_per_day": 1}, {"requests_per_minute": 1}])
def test_only_in_earnest_anybody_is_refused(limits: dict[str, Any]) -> None:
    full = State(requests=UNITS, concurrent=1, day_tokens=1)

    assert standing(account(**limits), full, 1).refuses
    assert not standing(account(**limits), State(), 1).refuses
    assert not standing(account(shadow=True, **limits), full, 1).refuses
    assert 0 != standing(account(shadow=True, **limits), full, 1).wait


def test_a_burst_that_is_not_told_is_a_minutes() -> None:
    plain = account(requests_per_minute=5, tokens_per_minute=7)
    told = account(requests_per_minute=5, request_burst=2, tokens_per_minute=7, token_burst=99)

    assert (5, 7) == (request_burst(plain), token_burst(plain))
    assert (2, 99) == (request_burst(told), token_burst(told))
    assert (None, None) == (request_burst(account()), token_burst(account()))


amounts = st.none() | st.integers(1, 10**4)
units = st.integers(0, 10**4 * UNITS)
some_limits = st.builds(
    Limits, amounts, st.none(), amounts, st.none(), amounts, amounts, amounts, st.none() | st.floats(0.001, 10**4)
)
states = st.builds(State, units, units, *[st.integers(0, 10**4)] * 3, st.integers(0, 10**7))


@given(some_limits, states, st.integers(0, 10**4))
def test_a_claim_fits_where_no_limit_makes_it_wait(limits: Limits, state: State, tokens: int) -> None:
    of = Account(Level.KEY, "k1", limits)
    waits = [one.wait for one in standings(of, state, NOW, claim(of, tokens))]

    assert fits(of, state, claim(of, tokens)) == all(wait == 0 for wait in waits)


@given(some_limits, states, st.integers(0, 10**4))
def test_what_fits_leaves_so_much_less_and_never_less_than_nothing(limits: Limits, state: State, tokens: int) -> None:
    of = Account(Level.KEY, "k1", limits)
    before = list(standings(of, state, NOW, claim(of, tokens)))
    behind = list(standings(of, after(state, claim(of, tokens)), NOW))
    takes = {Kind.REQUESTS: 1, Kind.CONCURRENT: 1, Kind.DAY_GPU: 0}

    assert [one.kind for one in before] == [one.kind for one in behind]
    for one, then in zip(before, behind, strict=True):
        assert 0 <= then.left <= one.left <= one.most
        if one.wait == 0:
            assert takes.get(one.kind, tokens) == one.left - then.left
