from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.limits.windows import EPOCH, Window, calendar
from tests.fakes.moments import micros

HOUR = 3600 * 1_000_000
ZONES = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/Havana",
    "America/Sao_Paulo",
    "America/Nuuk",
    "America/Caracas",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Kwajalein",
    "Etc/GMT+12",
]
zones = st.sampled_from(ZONES)
moments = st.integers(micros(datetime(1971, 1, 1, tzinfo=UTC)), micros(datetime(2200, 1, 1, tzinfo=UTC)))


def noon(zone: str, day: str) -> int:
    year, month, of_month = map(int, day.split("-"))
    return micros(datetime(year, month, of_month, 12, tzinfo=ZoneInfo(zone)))


def local(zone: str, wall: int) -> datetime:
    return (EPOCH + timedelta(microseconds=wall)).astimezone(ZoneInfo(zone))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("UTC", "2026-03-29", 24),
        ("Europe/Berlin", "2026-03-28", 24),
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-03-30", 24),
        ("Europe/Berlin", "2026-10-24", 24),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Europe/Berlin", "2026-10-26", 24),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Antarctica/Troll", "2026-03-29", 22),
        ("Asia/Kathmandu", "2026-03-29", 24),
        # The clocks are changed at midnight itself: there is none, or there are two.
        ("Asia/Beirut", "2026-03-29", 23),
        ("America/Havana", "2026-03-08", 23),
        ("America/Havana", "2026-11-01", 25),
        ("America/Sao_Paulo", "2018-11-04", 23),
        ("America/Sao_Paulo", "2019-02-16", 25),
        # Samoa went over the date line and had no 30th of December.
        ("Pacific/Apia", "2011-12-29", 24),
        ("Pacific/Apia", "2011-12-31", 24),
    ],
)
def test_a_day_has_as_many_hours_as_its_zone_gives_it(zone: str, day: str, hours: float) -> None:
    window = calendar(zone, noon(zone, day)).day

    assert hours * HOUR == window.end - window.start
    assert date.fromisoformat(day) == local(zone, window.start).date()


def test_the_day_after_a_day_that_was_left_out_begins_at_once() -> None:
    before = calendar("Pacific/Apia", noon("Pacific/Apia", "2011-12-29")).day
    after = calendar("Pacific/Apia", noon("Pacific/Apia", "2011-12-31")).day

    assert before.end == after.start == micros(datetime(2011, 12, 30, 10, tzinfo=UTC))


@pytest.mark.parametrize(
    ("zone", "day", "days", "hours"),
    [
        ("UTC", "2026-01-31", 31, 0),
        ("UTC", "2026-02-28", 28, 0),
        ("UTC", "2024-02-29", 29, 0),
        ("UTC", "2000-02-29", 29, 0),
        ("UTC", "2100-02-28", 28, 0),
        ("UTC", "2026-04-30", 30, 0),
        ("UTC", "2026-12-31", 31, 0),
        ("Europe/Berlin", "2026-03-15", 31, -1),
        ("Europe/Berlin", "2026-10-15", 31, 1),
        ("Australia/Lord_Howe", "2026-10-15", 31, -0.5),
        ("Pacific/Apia", "2011-12-15", 30, 0),
    ],
)
def test_a_month_has_as_many_days_as_its_year_and_its_zone_give_it(
    zone: str, day: str, days: int, hours: float
) -> None:
    window = calendar(zone, noon(zone, day)).month

    assert (24 * days + hours) * HOUR == window.end - window.start
    assert date.fromisoformat(day).replace(day=1) == local(zone, window.start).date()


@pytest.mark.parametrize(
    ("zone", "today", "first"),
    [
        ("UTC", "2026-06-30", "2026-06-01"),
        ("America/New_York", "2026-06-30", "2026-06-01"),
        ("Etc/GMT+12", "2026-06-30", "2026-06-01"),
        ("Europe/Berlin", "2026-07-01", "2026-07-01"),
        ("Pacific/Kiritimati", "2026-07-01", "2026-07-01"),
    ],
)
def test_east_of_greenwich_it_is_tomorrow_already(zone: str, today: str, first: str) -> None:
    found = calendar(zone, micros(datetime(2026, 6, 30, 23, 0, tzinfo=UTC)))

    assert today == local(zone, found.day.start).date().isoformat()
    assert first == local(zone, found.month.start).date().isoformat()


def test_a_year_ends_with_its_last_month() -> None:
    last = calendar("UTC", noon("UTC", "2026-12-31"))

    assert last.day.end == last.month.end == micros(datetime(2027, 1, 1, tzinfo=UTC))


def test_the_end_of_a_window_is_not_part_of_it() -> None:
    window = Window(10, 20)

    assert [False, True, True, False] == [window.holds(at) for at in (9, 10, 19, 20)]


@given(zones, moments)
@example("Pacific/Apia", micros(datetime(2011, 12, 30, 9, 59, 59, 999_999, tzinfo=UTC)))
@example("Pacific/Apia", micros(datetime(2011, 12, 30, 10, tzinfo=UTC)))
@example("Europe/Berlin", micros(datetime(2026, 10, 25, 1, 30, tzinfo=UTC)))
def test_a_moment_is_in_its_own_day_and_month(zone: str, wall: int) -> None:
    today = calendar(zone, wall)

    assert today.day.holds(wall)
    assert local(zone, today.day.start).date() == local(zone, wall).date()
    assert local(zone, wall).date().replace(day=1) == local(zone, today.month.start).date()
    assert today.month.start <= today.day.start < today.day.end <= today.month.end


@given(zones, moments)
def test_one_window_begins_where_the_other_ends(zone: str, wall: int) -> None:
    today = calendar(zone, wall)

    assert today.day.end == calendar(zone, today.day.end).day.start
    assert today.day.start == calendar(zone, today.day.start - 1).day.end
    assert today.month.end == calendar(zone, today.month.end).month.start
    assert today.month.start == calendar(zone, today.month.start - 1).month.end


@given(zones, moments, st.integers(0, 10**14))
def test_what_was_known_of_another_day_does_not_matter(zone: str, wall: int, further: int) -> None:
    before = calendar(zone, wall)
    calendar(zone, wall + further)

    assert before == calendar(zone, wall)
