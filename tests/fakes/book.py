"""A ledger that forgets: entries in memory, and sums that are added up when they are asked for."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from proxy.ledger import Mark, Part, Running, Spent, Sum, Wanted
from proxy.vocabulary import Entry, Level, Outcome

_GROUP: dict[str, Callable[[Entry, ZoneInfo], str | None]] = {
    "user": lambda entry, _: entry.user,
    "team": lambda entry, _: entry.team,
    "key": lambda entry, _: entry.key_id,
    "model": lambda entry, _: _model(entry),
    "day": lambda entry, zone: entry.at.astimezone(zone).strftime("%Y-%m-%d"),
    "hour": lambda entry, zone: entry.at.astimezone(zone).strftime("%Y-%m-%d %H:00"),
    "endpoint": lambda entry, _: entry.endpoint,
    "outcome": lambda entry, _: entry.outcome.value,
}


class FakeBook:
    """A ``Book`` in memory; an entry's mark is its place in the order of writing, from 1."""

    def __init__(self, *entries: Entry) -> None:
        self._kept: dict[int, Entry] = dict(enumerate(entries, 1))
        self._forgotten: list[Entry] = []
        self._written = len(entries)
        self._running: dict[str, tuple[str, Running]] = {}
        self._marks: dict[str, Mark] = {}

    async def write(self, entries: Sequence[Entry], part: Part | None = None) -> None:
        for entry in entries:
            if entry.id not in {there.id for there in self._kept.values()}:
                self._written += 1
                self._kept[self._written] = entry
        if part is not None:
            self._running |= {one.id: (part.journal, one) for one in part.running}
            for entry in entries:
                self._running.pop(entry.id, None)
            self._marks[part.journal] = part.mark

    async def begun(self, journal: str) -> tuple[Mark, list[Running]]:
        return self._marks.get(journal, Mark()), _by_time(one for its, one in self._running.values() if its == journal)

    async def last(self, count: int, *, user: str | None = None) -> list[Entry]:
        return _of(self._kept.values(), user)[-count:] if count > 0 else []

    async def since(self, mark: int, *, user: str | None = None) -> tuple[list[Entry], int]:
        newer = {place: entry for place, entry in self._kept.items() if place > mark}
        return _of(newer.values(), user), max(newer, default=mark)

    async def mark(self) -> int:
        return max(self._kept, default=0)

    async def at(self, moment: datetime, *, user: str | None = None) -> tuple[list[Entry], list[Running]]:
        ended = [
            entry
            for entry in _of(self._kept.values(), user)
            if entry.at <= moment < entry.at + timedelta(seconds=entry.total_seconds)
        ]
        going_on = [one for _, one in self._running.values() if one.at <= moment and user in (None, one.user)]
        return sorted(ended, key=lambda entry: entry.at), _by_time(going_on)

    async def all(self, since: datetime | None, until: datetime | None) -> AsyncIterator[Sequence[Entry]]:
        for entry in list(self._kept.values()):
            if _is_within(entry.at, since, until):
                yield [entry]

    async def sums(self, wanted: Wanted) -> list[Sum]:
        zone = ZoneInfo(wanted.time_zone)
        groups: dict[tuple[str, ...], list[Entry]] = {}
        for entry in self._counted(wanted.since, wanted.until):
            if _is_wanted(entry, wanted):
                groups.setdefault(tuple(_GROUP[name](entry, zone) or "" for name in wanted.by), []).append(entry)
        sums = [_sum(group, entries) for group, entries in groups.items()]
        sums.sort(key=lambda one: one.groups)
        sums.sort(key=lambda one: one.prompt_tokens + one.completion_tokens, reverse=True)
        times = [place for place, name in enumerate(wanted.by) if name in ("day", "hour")]
        return sorted(sums, key=lambda one: [one.groups[place] for place in times])

    def _counted(self, since: datetime | None, until: datetime | None) -> list[Entry]:
        """Those of the time, and all of the quarters at its ends of which some are forgotten."""
        if since is not None and until is not None and since >= until:
            return []
        halves = {_quarter(end) for end in (since, until) if end is not None and end != _quarter(end)}
        whole = halves & {_quarter(entry.at) for entry in self._forgotten}
        everything = [*self._forgotten, *self._kept.values()]
        return [one for one in everything if _is_within(one.at, since, until) or _quarter(one.at) in whole]

    async def spent(
        self, level: Level, subject: str, since: datetime, *, team: str | None = None
    ) -> Mapping[str | None, Spent]:
        spent: dict[str | None, Spent] = {}
        for entry in self._counted(since, None):
            whose = {Level.KEY: entry.key_id, Level.USER: entry.user, Level.TEAM: entry.team, Level.EVERYBODY: subject}
            if whose[level] == subject and (level is not Level.USER or entry.team == team):
                before = spent.get(model := _model(entry), Spent(0, 0.0))
                spent[model] = Spent(before.tokens + entry.usage.tokens, before.gpu_seconds + entry.gpu_seconds)
        return spent

    async def forget(self, before: datetime, most: int) -> int:
        older = sorted((entry.at, place) for place, entry in self._kept.items() if entry.at < before)[:most]
        self._forgotten += [self._kept.pop(place) for _, place in older]
        return len(older)

    async def days_of(self, time_zone: str) -> None:
        """Nothing is summed up before it is asked for."""


def _model(entry: Entry) -> str | None:
    """What cost nothing is summed up without its model."""
    return entry.model if entry.usage.tokens or entry.gpu_seconds else None


def _of(entries: Iterable[Entry], user: str | None) -> list[Entry]:
    return [entry for entry in entries if user is None or entry.user == user]


def _by_time(running: Iterable[Running]) -> list[Running]:
    return sorted(running, key=lambda one: (one.at, one.id))


def _is_within(at: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or at >= since) and (until is None or at < until)


def _is_wanted(entry: Entry, wanted: Wanted) -> bool:
    pairs = (
        (wanted.user, entry.user),
        (wanted.team, entry.team),
        (wanted.key, entry.key_id),
        (wanted.model, _model(entry)),
    )
    return all(asked is None or asked == (there or "") for asked, there in pairs)


def _quarter(moment: datetime) -> datetime:
    moment = moment.astimezone(UTC)
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)


def _sum(groups: tuple[str, ...], entries: Sequence[Entry]) -> Sum:
    return Sum(
        groups=groups,
        calls=len(entries),
        refused=sum(entry.outcome is Outcome.REFUSED for entry in entries),
        estimated=sum(not entry.usage.exact for entry in entries),
        suspicious=sum(entry.usage.suspicious for entry in entries),
        prompt_tokens=sum(entry.usage.prompt_tokens for entry in entries),
        completion_tokens=sum(entry.usage.completion_tokens for entry in entries),
        load_seconds=sum(entry.usage.load_seconds or 0.0 for entry in entries),
        gpu_seconds=sum(entry.gpu_seconds for entry in entries),
        total_seconds=sum(entry.total_seconds for entry in entries),
        cost=sum(entry.cost or 0.0 for entry in entries),
        elsewhere=sum(entry.elsewhere or 0.0 for entry in entries),
        watt_hours=sum(entry.watt_hours or 0.0 for entry in entries),
    )
