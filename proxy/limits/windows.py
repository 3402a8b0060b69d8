"""Calendar windows: the days and months of a time zone. Nothing in this module does I/O."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

SECOND = 1_000_000
ASTRAY = 2 * 86_400 * SECOND
"""Microseconds by which the ends of one day, or of one month, cannot differ between two zones."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """Microseconds since the Unix epoch; the end is not part of it."""

    start: int
    end: int

    def holds(self, wall: int) -> bool:
        return self.start <= wall < self.end


@dataclass(frozen=True, slots=True)
class Calendar:
    """The day that one moment is in, and the month that this day is in."""

    day: Window
    month: Window


_known: dict[str, Calendar] = {}


def calendar(time_zone: str, wall: int) -> Calendar:
    """The day and the month in this zone at this moment. A day has 23 or 25 hours where the clocks are changed."""
    known = _known.get(time_zone)
    if known is None or not known.day.holds(wall):
        known = _known[time_zone] = _calendar(time_zone, wall)
    return known


def _calendar(time_zone: str, wall: int) -> Calendar:
    zone = _zone(time_zone)
    today = (EPOCH + timedelta(microseconds=wall)).astimezone(zone).date()
    first = today.replace(day=1)
    next_first = (first + timedelta(days=31)).replace(day=1)
    midnight = [
        _micros(datetime(day.year, day.month, day.day, tzinfo=zone))
        for day in (today, today + timedelta(days=1), first, next_first)
    ]
    return Calendar(Window(midnight[0], midnight[1]), Window(midnight[2], midnight[3]))


def _micros(moment: datetime) -> int:
    return (moment.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)


@lru_cache(64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
