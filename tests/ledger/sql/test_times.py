from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from proxy.ledger.sql.times import Piece, Source, cut, day_of, ends, hour_of, next_day, quarter_of, written

BERLIN = ZoneInfo("Europe/Berlin")
UTC_ZONE = ZoneInfo("UTC")


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


def end_at(text: str | None) -> datetime | None:
    return None if text is None else at(text)


def test_a_time_is_written_in_utc_to_the_microsecond() -> None:
    assert "2026-03-01T11:00:00.000000+00:00" == written(datetime(2026, 3, 1, 12, tzinfo=BERLIN))


@pytest.mark.parametrize(
    ("time", "quarter"),
    [("12:00:00", "12:00"), ("12:14:59.999999", "12:00"), ("12:15:00", "12:15"), ("23:59:59.999999", "23:45")],
)
def test_a_time_is_in_the_quarter_that_began_last(time: str, quarter: str) -> None:
    assert f"2026-03-01T{quarter}" == quarter_of(written(at(f"03-01T{time}")))


def test_a_quarter_ends_where_the_next_begins() -> None:
    assert ("2026-03-01T23:45:00.000000+00:00", "2026-03-02T00:00:00.000000+00:00") == ends("2026-03-01T23:45")


@pytest.mark.parametrize(
    ("quarter", "zone", "day", "hour", "next_one"),
    [
        ("2026-03-01T23:00", "UTC", "2026-03-01", "23:00", "2026-03-02T00:00"),
        ("2026-03-01T23:00", "Europe/Berlin", "2026-03-02", "00:00", "2026-03-02T23:00"),
        ("2026-03-28T23:00", "Europe/Berlin", "2026-03-29", "00:00", "2026-03-29T22:00"),  # 23 hours
        ("2026-10-24T22:00", "Europe/Berlin", "2026-10-25", "00:00", "2026-10-25T23:00"),  # 25 hours
        ("2026-10-25T01:00", "Europe/Berlin", "2026-10-25", "02:00", "2026-10-25T23:00"),  # for the second time
        ("2026-03-01T00:15", "Asia/Kolkata", "2026-03-01", "05:00", "2026-03-01T18:30"),
        ("2026-03-01T00:15", "Asia/Kathmandu", "2026-03-01", "06:00", "2026-03-01T18:15"),
        ("2026-03-08T05:00", "America/Havana", "2026-03-08", "01:00", "2026-03-09T04:00"),  # There is no midnight.
        ("2026-03-08T04:45", "America/Havana", "2026-03-07", "23:00", "2026-03-08T05:00"),
    ],
)
def test_a_quarter_is_in_a_day_and_an_hour_of_each_zone(
    quarter: str, zone: str, day: str, hour: str, next_one: str
) -> None:
    assert day == day_of(quarter, ZoneInfo(zone))
    assert f"{day} {hour}" == hour_of(quarter, ZoneInfo(zone))
    assert next_one == next_day(quarter, ZoneInfo(zone))


@pytest.mark.parametrize(
    ("since", "until", "pieces"),
    [
        (None, None, [(Source.DAYS, None, None)]),
        ("03-01T00:00", None, [(Source.DAYS, "03-01T00:00", None)]),
        (None, "03-01T00:00", [(Source.DAYS, None, "03-01T00:00")]),
        ("03-01T00:00", "03-02T00:00", [(Source.DAYS, "03-01T00:00", "03-02T00:00")]),
        ("03-01T12:00", "03-01T12:15", [(Source.QUARTERS, "03-01T12:00", "03-01T12:15")]),
        ("03-01T12:01", "03-01T12:02", [(Source.CALLS, "03-01T12:01", "03-01T12:02")]),
        ("03-01T12:00", "03-01T12:02", [(Source.CALLS, "03-01T12:00", "03-01T12:02")]),
        ("03-01T12:14", "03-01T12:15", [(Source.CALLS, "03-01T12:14", "03-01T12:15")]),
        (
            "03-01T12:14",
            "03-01T12:16",
            [(Source.CALLS, "03-01T12:14", "03-01T12:15"), (Source.CALLS, "03-01T12:15", "03-01T12:16")],
        ),
        (
            "03-01T23:44",
            "03-03T00:16",
            [
                (Source.CALLS, "03-01T23:44", "03-01T23:45"),
                (Source.QUARTERS, "03-01T23:45", "03-02T00:00"),
                (Source.DAYS, "03-02T00:00", "03-03T00:00"),
                (Source.QUARTERS, "03-03T00:00", "03-03T00:15"),
                (Source.CALLS, "03-03T00:15", "03-03T00:16"),
            ],
        ),
        ("03-01T12:00", "03-01T12:00", []),
        ("03-01T12:00", "03-01T11:00", []),
    ],
)
def test_time_is_cut_into_days_and_quarters_and_what_is_left(
    since: str | None, until: str | None, pieces: list[tuple[Source, str | None, str | None]]
) -> None:
    told = [Piece(source, end_at(begin), end_at(end)) for source, begin, end in pieces]

    assert told == cut(end_at(since), end_at(until), UTC_ZONE)


def test_without_a_zone_there_are_no_days() -> None:
    assert [Piece(Source.QUARTERS, None, None)] == cut(None, None, None)
    assert [Piece(Source.QUARTERS, at("03-01T00:00"), at("03-09T00:00"))] == (
        cut(at("03-01T00:00"), at("03-09T00:00"), None)
    )


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 7, 1), 24)])
def test_a_day_is_as_long_as_the_zone_has_it(day: tuple[int, int, int], hours: int) -> None:
    begin = datetime(*day, tzinfo=BERLIN)
    end = begin + timedelta(days=1)
    (piece,) = cut(begin, end, BERLIN)

    assert Piece(Source.DAYS, begin.astimezone(UTC), end.astimezone(UTC)) == piece
    assert piece.since is not None
    assert piece.until is not None
    assert timedelta(hours=hours) == piece.until - piece.since
