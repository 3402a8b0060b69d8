from fractions import Fraction
from itertools import accumulate, pairwise
from math import ceil, floor

from hypothesis import given
from hypothesis import strategies as st

from proxy.limits import bucket
from proxy.limits.bucket import MOST, MOST_USED, UNITS

EXACT_IN_LUA = 2**53
MINUTE = 60_000_000
YEAR = 366 * 24 * 60 * MINUTE

some = st.integers(1, 20) | st.integers(1, MOST)
"""Requests or tokens: an amount, a burst, or a rate per minute."""
gaps = st.integers(0, 3) | st.integers(0, 2 * MINUTE) | st.integers(0, YEAR)
"""Microseconds between two calls."""
used_units = st.integers(0, 100) | st.integers(0, MOST_USED)
few = st.integers(1, 30)
short = st.integers(0, 10) | st.integers(0, 2 * MINUTE)


class Reference:
    """The same bucket in fractions of a request or token, which knows nothing of units."""

    def __init__(self) -> None:
        self.used, self.at = Fraction(0), 0

    def pass_time(self, now: int, per_minute: int) -> None:
        self.used = max(Fraction(0), self.used - Fraction(max(0, now - self.at) * per_minute, MINUTE))
        self.at = now

    def fits(self, amount: int, burst: int) -> bool:
        return self.used + amount <= burst

    def charge(self, amount: int) -> None:
        self.used = max(Fraction(0), min(Fraction(MOST_USED, UNITS), self.used + amount))

    def left(self, burst: int) -> int:
        return max(0, floor(burst - self.used))

    def wait(self, amount: int, burst: int, per_minute: int) -> int:
        return max(0, ceil((self.used + amount - burst) * MINUTE / per_minute))

    def until_empty(self, per_minute: int) -> int:
        return ceil(self.used * MINUTE / per_minute)


@given(st.lists(st.tuples(gaps, some, some, some, st.integers(-MOST, MOST)), max_size=20))
def test_it_agrees_with_a_bucket_in_fractions(steps: list[tuple[int, int, int, int, int]]) -> None:
    reference, used, at = Reference(), 0, 0
    for gap, amount, burst, per_minute, settled in steps:
        used, at = bucket.run_off(used, at, at + gap, per_minute), at + gap
        reference.pass_time(at, per_minute)

        assert reference.used * UNITS == used
        assert reference.fits(amount, burst) == bucket.fits(used, amount, burst)
        assert reference.left(burst) == bucket.left(used, burst)
        assert reference.until_empty(per_minute) == bucket.until_empty(used, per_minute)
        assert reference.wait(amount, burst, per_minute) == bucket.wait(used, amount, burst, per_minute)
        if bucket.fits(used, amount, burst):
            used = bucket.charged(used, amount)
            reference.charge(amount)
        used = bucket.charged(used, settled)
        reference.charge(settled)


@given(st.lists(st.tuples(short, few), max_size=40), few, few)
def test_no_window_whatever_gets_more_than_the_burst_and_what_came_back_meanwhile(
    calls: list[tuple[int, int]], burst: int, per_minute: int
) -> None:
    used, at, granted = 0, 0, []
    for gap, amount in calls:
        used, at = bucket.run_off(used, at, at + gap, per_minute), at + gap
        if bucket.fits(used, amount, burst):
            used = bucket.charged(used, amount)
            granted.append((at, amount))

    for first in range(len(granted)):
        for last in range(first, len(granted)):
            amount = sum(amount for _, amount in granted[first : last + 1])
            window = granted[last][0] - granted[first][0]

            assert amount * MINUTE <= burst * MINUTE + per_minute * window


@given(st.lists(st.tuples(short, few, few, few), max_size=40))
def test_nor_does_it_where_the_limit_changes_meanwhile(calls: list[tuple[int, int, int, int]]) -> None:
    used, at, granted, came_back = 0, 0, [], [0]
    for gap, amount, burst, per_minute in calls:
        used, at = bucket.run_off(used, at, at + gap, per_minute), at + gap
        came_back.append(came_back[-1] + gap * per_minute)
        fits = bucket.fits(used, amount, burst)
        used = bucket.charged(used, amount) if fits else used
        granted.append(amount if fits else 0)

    for first in range(len(calls)):
        for last in range(first, len(calls)):
            # What is allowed is said by the burst that the last one was admitted by.
            if granted[last]:
                meanwhile = came_back[last + 1] - came_back[first + 1]

                assert sum(granted[first : last + 1]) * MINUTE <= calls[last][2] * MINUTE + meanwhile


@given(used_units, some, some, some)
def test_after_the_wait_it_fits_and_not_a_microsecond_before(
    used: int, amount: int, burst: int, per_minute: int
) -> None:
    amount = min(amount, burst)
    wait = bucket.wait(used, amount, burst, per_minute)

    assert bucket.fits(bucket.run_off(used, 0, wait, per_minute), amount, burst)
    assert wait == 0 or not bucket.fits(bucket.run_off(used, 0, wait - 1, per_minute), amount, burst)


@given(used_units, some)
def test_it_is_empty_when_it_said_and_not_a_microsecond_before(used: int, per_minute: int) -> None:
    empty = bucket.until_empty(used, per_minute)

    assert 0 == bucket.run_off(used, 0, empty, per_minute)
    assert empty == 0 or bucket.run_off(used, 0, empty - 1, per_minute) > 0


@given(used_units, st.lists(gaps, min_size=2, max_size=10), some)
def test_looking_more_often_changes_nothing(used: int, steps: list[int], per_minute: int) -> None:
    often = used
    for before, now in pairwise(accumulate(steps, initial=0)):
        often = bucket.run_off(often, before, now, per_minute)

    assert often == bucket.run_off(used, 0, sum(steps), per_minute)


@given(used_units, gaps, some)
def test_a_clock_that_is_set_back_lets_nothing_run_off(used: int, back: int, per_minute: int) -> None:
    assert used == bucket.run_off(used, back, 0, per_minute)


@given(some, some, some, gaps)
def test_a_clock_that_is_set_back_locks_nobody_out_for_longer_than_a_refill(
    amount: int, burst: int, per_minute: int, back: int
) -> None:
    used = bucket.run_off(bucket.charged(0, burst), back, 0, per_minute)
    refill = bucket.until_empty(burst * UNITS, per_minute)

    assert bucket.wait(used, min(amount, burst), burst, per_minute) <= refill
    assert bucket.fits(bucket.run_off(used, 0, refill, per_minute), burst, burst)


@given(st.lists(st.tuples(gaps, some, st.integers(-MOST, MOST)), max_size=30))
def test_never_less_is_used_than_nothing_or_more_than_the_most(steps: list[tuple[int, int, int]]) -> None:
    used, at = 0, 0
    for gap, per_minute, amount in steps:
        used = bucket.charged(used, amount)

        assert 0 <= used <= MOST_USED
        used, at = bucket.run_off(used, at, at + gap, per_minute), at + gap

        assert 0 <= used <= MOST_USED


@given(used_units, some, some, some, gaps)
def test_every_answer_is_exact_in_lua(used: int, amount: int, burst: int, per_minute: int, gap: int) -> None:
    amount = min(amount, burst)

    assert bucket.charged(used, amount) < EXACT_IN_LUA
    assert bucket.run_off(used, 0, gap, per_minute) < EXACT_IN_LUA
    assert bucket.wait(used, amount, burst, per_minute) < EXACT_IN_LUA
    assert bucket.until_empty(used, per_minute) < EXACT_IN_LUA
    assert bucket.until_empty(burst * UNITS, per_minute) < EXACT_IN_LUA
    assert bucket.left(used, burst) <= MOST


@given(used_units, some, some, some, gaps)
def test_what_lua_cannot_reckon_exactly_makes_no_difference(
    used: int, amount: int, burst: int, per_minute: int, gap: int
) -> None:
    gone, wanted = float(gap) * float(per_minute), float(used) + float(amount) * UNITS

    assert bucket.run_off(used, 0, gap, per_minute) == (used - int(gone) if gone < used else 0)
    assert bucket.fits(used, amount, burst) == (wanted <= float(burst) * UNITS)
    assert bucket.charged(used, amount) == int(min(float(MOST_USED), wanted))


def test_the_largest_burst_is_less_than_what_can_be_remembered_as_used() -> None:
    assert MOST * UNITS < MOST_USED < EXACT_IN_LUA


def test_one_unit_too_many_does_not_fit() -> None:
    assert bucket.fits(9 * UNITS, 1, 10)
    assert not bucket.fits(9 * UNITS + 1, 1, 10)
    assert (1, 0) == (bucket.left(9 * UNITS, 10), bucket.left(9 * UNITS + 1, 10))
    assert 1 == bucket.wait(9 * UNITS + 1, 1, 10, 1)


def test_what_is_used_beyond_the_most_is_not_remembered() -> None:
    assert MOST_USED == bucket.charged(MOST_USED - UNITS, 2) == bucket.charged(MOST_USED, MOST)
    assert 0 == bucket.charged(UNITS, -2)


def test_a_lowered_limit_leaves_nothing_rather_than_less_than_nothing() -> None:
    assert 0 == bucket.left(bucket.charged(0, 10), 5)
