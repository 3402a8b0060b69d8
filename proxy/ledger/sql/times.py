"""Times as the book tells them, the quarters and days they are in, and how time is cut along those. No I/O.

A time is ISO 8601 in UTC to the microsecond, a quarter of an hour the first 16 characters of that. Days of every time
zone of today begin with a quarter.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from zoneinfo import ZoneInfo

QUARTER = timedelta(minutes=15)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEGINS = {f"{minute:02}": f"{minute // 15 * 15:02}" for minute in range(60)}


def written(moment: datetime) -> str:
    """A moment, which needs a time zone, as the book tells it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def quarter_of(time: str) -> str:
    """The quarter in which a written time is."""
    return time[:14] + _BEGINS[time[14:16]]


def began(quarter: str) -> datetime:
    """The moment at which it begins."""
    return datetime.fromisoformat(quarter).replace(tzinfo=UTC)


def ends(quarter: str) -> tuple[str, str]:
    """The times at which it begins and ends."""
    return written(began(quarter)), written(began(quarter) + QUARTER)


def day_of(quarter: str, zone: ZoneInfo) -> str:
    """``YYYY-MM-DD`` in that zone."""
    return _day(began(quarter), zone)


def hour_of(quarter: str, zone: ZoneInfo) -> str:
    """``YYYY-MM-DD hh:00`` in that zone."""
    return began(quarter).astimezone(zone).isoformat(" ", "hours")[:13] + ":00"


def next_day(quarter: str, zone: ZoneInfo) -> str:
    """The quarter with which the next day begins."""
    return quarter_of(written(_beginning(began(quarter) + QUARTER, zone)))


def _day(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).date().isoformat()


def _beginning(moment: datetime, zone: ZoneInfo, step: timedelta = QUARTER) -> datetime:
    """The nearest beginning of a day, by quarters: it needs no rule of how long days are, which zones change."""
    while _day(moment, zone) == _day(moment - QUARTER, zone):
        moment += step
    return moment


class Source(Enum):
    """Where the sums of a piece of time are."""

    CALLS = auto()
    """Within one quarter, with two ends."""
    QUARTERS = auto()
    DAYS = auto()


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of time; None where it has no beginning or end."""

    source: Source
    since: datetime | None
    until: datetime | None
    """Not part of it."""


def cut(since: datetime | None, until: datetime | None, zone: ZoneInfo | None) -> list[Piece]:
    """The pieces of a stretch of time: days as far as they are in it as a whole, quarters around them, and around those
    what is of a quarter. Without a zone there are no days."""
    since, until = since and since.astimezone(UTC), until and until.astimezone(UTC)  # Else an hour may be there twice.
    if since is not None and until is not None and since >= until:
        return []
    first = since and since + (_EPOCH - since) % QUARTER
    last = until and until - (until - _EPOCH) % QUARTER
    if first is not None and last is not None and first > last:
        return [Piece(Source.CALLS, since, until)]
    return [*_some(Source.CALLS, since, first), *_whole(first, last, zone), *_some(Source.CALLS, last, until)]


def _whole(first: datetime | None, last: datetime | None, zone: ZoneInfo | None) -> list[Piece]:
    if zone is not None:
        begin = first and _beginning(first, zone)
        end = last and _beginning(last, zone, -QUARTER)
        if begin is None or end is None or begin < end:
            before, after = _some(Source.QUARTERS, first, begin), _some(Source.QUARTERS, end, last)
            return [*before, Piece(Source.DAYS, begin, end), *after]
    return (
        [Piece(Source.QUARTERS, first, last)] if first is None or last is None else _some(Source.QUARTERS, first, last)
    )


def _some(source: Source, since: datetime | None, until: datetime | None) -> list[Piece]:
    """A piece with two ends, where these are not the same."""
    return [] if since == until else [Piece(source, since, until)]
