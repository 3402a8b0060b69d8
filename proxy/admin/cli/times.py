"""Moments as people write them at a terminal."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from proxy.admin import reports
from proxy.admin.cli.options import lifetime
from proxy.admin.refusals import NotDone
from proxy.config.settings import Settings

_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    rf"{_DATE.pattern}[T ][0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]{{1,6}})?)?(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})?"
)
_YEARS = range(1970, 9999)  # Beyond them not every zone can tell a moment.


@dataclass(frozen=True, slots=True)
class Point:
    """A moment as it was told; which one it is depends on when and where."""

    ago: timedelta = timedelta(0)
    """Before now, where nothing else was told."""
    at: datetime | None = None
    """On the calendar; without an offset on that of the zone."""
    is_day: bool = False
    """The first moment of that day, whichever hour the clocks show then."""

    def moment(self, zone: ZoneInfo, now: datetime) -> datetime:
        """In UTC. Raises BadParameter where the clocks of the zone never showed that time, or showed it twice."""
        if self.at is None:
            return (now - self.ago).astimezone(UTC)
        if self.at.tzinfo is not None:
            return self.at.astimezone(UTC)
        first, second = (self.at.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if first == second or self.is_day:
            return first
        if first.astimezone(zone).replace(tzinfo=None) != self.at:
            raise typer.BadParameter(f"{self.at:%Y-%m-%d %H:%M} never was in {zone.key}: the clocks skipped it")
        ways = " or ".join(one.astimezone(zone).isoformat(timespec="minutes") for one in (first, second))
        raise typer.BadParameter(f"{self.at:%Y-%m-%d %H:%M} was twice in {zone.key}: write {ways}")


def point(text: str) -> Point:
    """A duration back from now, a date, or a time of the day, with or without its offset."""
    text = text.strip()
    is_day = bool(_DATE.fullmatch(text))
    if not is_day and not _TIME.fullmatch(text):
        if "-" not in text and ":" not in text:
            return Point(ago=lifetime(text))
        raise typer.BadParameter(
            f"{text[:40]!r} is not a time: write it like 2026-11-01, 2026-11-01T14:00 or 2026-11-01T14:00+01:00"
        )
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is on no calendar") from None
    if at.year not in _YEARS:
        raise typer.BadParameter(f"{text!r} should be in a year from {_YEARS[0]} to {_YEARS[-1]}")
    return Point(at=at, is_day=is_day)


def _zone(name: str) -> ZoneInfo:
    try:
        return reports.zone(name)
    except NotDone as error:
        raise typer.BadParameter(error.message) from None


Since = Annotated[
    Point | None,
    typer.Option("--since", metavar="TIME", parser=point, help="From then on: 7d, 2026-11-01 or 2026-11-01T14:00."),
]
Until = Annotated[
    Point | None, typer.Option("--until", metavar="TIME", parser=point, help="Up to then, but not at that moment.")
]
At = Annotated[
    Point | None, typer.Option("--at", metavar="TIME", parser=point, help="What ran then: 10m, 2026-11-01T14:00.")
]
TimeZone = Annotated[
    ZoneInfo | None,
    typer.Option("--tz", metavar="ZONE", parser=_zone, help="In which days begin, like Europe/Berlin."),
]


@dataclass(frozen=True, slots=True)
class Calendar:
    """Where and when somebody asks."""

    zone: ZoneInfo
    now: datetime

    @classmethod
    def of(cls, settings: Settings, now: datetime, tz: ZoneInfo | None = None) -> "Calendar":
        """In the zone that was told, or else in that of the settings."""
        return cls(tz or ZoneInfo(settings.time_zone), now)

    def moment(self, told: Point | None) -> datetime | None:
        """In UTC; None where nothing was told. Raises BadParameter, see ``Point.moment``."""
        return None if told is None else told.moment(self.zone, self.now)
