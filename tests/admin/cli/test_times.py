import re
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
import typer
from typer.models import OptionInfo

from proxy.admin.cli.times import At, Calendar, Point, Since, point
from proxy.config.settings import Settings

NOW = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)


def moment(text: str, zone: str = "UTC") -> str:
    return point(text).moment(ZoneInfo(zone), NOW).isoformat()


@pytest.mark.parametrize(
    ("text", "zone", "told"),
    [
        ("7d", "Europe/Berlin", "2026-11-03T12:00:00+00:00"),
        ("1h30m", "UTC", "2026-11-10T10:30:00+00:00"),
        ("90", "UTC", "2026-11-10T11:58:30+00:00"),
        ("2026-11-01", "UTC", "2026-11-01T00:00:00+00:00"),
        ("2026-11-01", "Europe/Berlin", "2026-10-31T23:00:00+00:00"),
        ("2026-10-01", "Europe/Berlin", "2026-09-30T22:00:00+00:00"),
        ("2026-11-01T14:00", "Europe/Berlin", "2026-11-01T13:00:00+00:00"),
        (" 2026-11-01 14:00:01.5 ", "Asia/Kolkata", "2026-11-01T08:30:01.500000+00:00"),
        ("2026-11-01T14:00Z", "Europe/Berlin", "2026-11-01T14:00:00+00:00"),
        ("2026-11-01T14:00-08:00", "Europe/Berlin", "2026-11-01T22:00:00+00:00"),
    ],
)
def test_a_moment_is_told_as_people_write_it(text: str, zone: str, told: str) -> None:
    assert told == moment(text, zone)


@pytest.mark.parametrize(
    ("text", "zone", "told"),
    [
        ("2026-04-24", "Africa/Cairo", "2026-04-23T22:00:00+00:00"),  # It begins at one o'clock.
        ("2026-11-01", "America/Havana", "2026-11-01T04:00:00+00:00"),  # Its first hour comes twice.
    ],
)
def test_a_day_begins_with_its_first_moment_whatever_the_clocks_show(text: str, zone: str, told: str) -> None:
    assert told == moment(text, zone)


def test_a_time_that_the_clocks_skipped_never_was() -> None:
    with pytest.raises(typer.BadParameter, match="2026-03-29 02:30 never was in Europe/Berlin"):
        moment("2026-03-29T02:30", "Europe/Berlin")

    assert "2026-03-29T01:00:00+00:00" == moment("2026-03-29T03:00", "Europe/Berlin")


def test_a_time_that_the_clocks_showed_twice_needs_its_offset() -> None:
    with pytest.raises(typer.BadParameter) as refused:
        moment("2026-10-25T02:30", "Europe/Berlin")

    ways = [word for word in refused.value.message.split() if word.startswith("2026-10-25T")]

    assert ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"] == ways
    assert ["2026-10-25T00:30:00+00:00", "2026-10-25T01:30:00+00:00"] == [moment(way) for way in ways]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "-7d",
        "2026-02-30",
        "2026-13-01",
        "2026-11-01T25:00",
        "2026-11-01T14",
        "2026-11-01T14:00+25:00",
        "2026-11-01T14:00 Europe/Berlin",
        "20261101T140000",
        "2026-W45-1",
        "0001-01-01",
        "9999-12-31T23:59-08:00",
        "1969-12-31",
        "٢٠٢٦-١١-٠١",  # noqa: RUF001 - digits, but not those of a date
    ],
)
def test_anything_else_is_no_moment(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        point(text)


def test_a_calendar_is_in_the_zone_that_was_told_or_in_that_of_the_settings() -> None:
    settings = Settings(time_zone="Asia/Tokyo")
    today = point("2026-11-10")

    assert NOW - timedelta(hours=21) == Calendar.of(settings, NOW).moment(today)
    assert NOW - timedelta(hours=12) == Calendar.of(settings, NOW, ZoneInfo("UTC")).moment(today)
    assert Calendar.of(settings, NOW).moment(None) is None


@pytest.mark.parametrize("option", [Since, At])
def test_the_moments_that_the_help_shows_are_moments(option: Any) -> None:
    (shown,) = (one.help for one in get_args(option) if isinstance(one, OptionInfo))
    moments = re.split(r", | or ", str(shown).partition(": ")[2].rstrip("."))

    assert len(moments) >= 2
    assert all(isinstance(point(one), Point) for one in moments)
