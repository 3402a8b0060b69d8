"""A ledger that forgets."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from proxy.ledger import Spent, Sum
from proxy.vocabulary import Entry, Level, Outcome

_GROUP: dict[str, Callable[[Entry], str | None]] = {
    "user": lambda entry: entry.user,
    "team": lambda entry: entry.team,
    "key": lambda entry: entry.key_id,
    "model": lambda entry: entry.model,
    "day": lambda entry: entry.at.astimezone(UTC).date().isoformat(),
    "endpoint": lambda entry: entry.endpoint,
}


class FakeBook:
    """A ``Book`` in memory; an entry's mark is its place in the order of writing, from 1."""

    def __init__(self, *entries: Entry) -> None:
        self._entries: list[Entry] = list(entries)

    async def write(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.id not in {there.id for there in self._entries}:
                self._entries.append(entry)

    async def last(self, count: int, *, user: str | None = None) -> list[Entry]:
        return _of(self._entries, user)[-count:] if count > 0 else []

    async def since(self, mark: int, *, user: str | None = None) -> tuple[list[Entry], int]:
        return _of(self._entries[mark:], user), len(self._entries)

    async def mark(self) -> int:
        return len(self._entries)

    async def sums(self, by: str, since: datetime | None = None) -> list[Sum]:
        groups: dict[str, list[Entry]] = {}
        for entry in self._entries:
            if since is None or entry.at >= since:
                groups.setdefault(_GROUP[by](entry) or "", []).append(entry)
        sums = [_sum(group, entries) for group, entries in groups.items()]
        if by == "day":
            return sorted(sums, key=lambda total: total.group)
        return sorted(sums, key=lambda total: (-total.prompt_tokens - total.completion_tokens, total.group))

    async def spent(
        self, level: Level, subject: str, since: datetime, *, team: str | None = None
    ) -> Mapping[str | None, Spent]:
        spent: dict[str | None, Spent] = {}
        for entry in self._entries:
            if level is not Level.EVERYBODY and _GROUP[level](entry) != subject:
                continue
            if entry.at >= since and (level is not Level.USER or entry.team == team):
                before = spent.get(entry.model, Spent(0, 0.0))
                spent[entry.model] = Spent(before.tokens + entry.usage.tokens, before.gpu_seconds + entry.gpu_seconds)
        return spent


def _of(entries: Sequence[Entry], user: str | None) -> list[Entry]:
    return [entry for entry in entries if user is None or entry.user == user]


def _sum(group: str, entries: Sequence[Entry]) -> Sum:
    return Sum(
        group=group,
        calls=len(entries),
        refused=sum(entry.outcome is Outcome.REFUSED for entry in entries),
        floors=sum(not entry.usage.exact for entry in entries),
        prompt_tokens=sum(entry.usage.prompt_tokens for entry in entries),
        completion_tokens=sum(entry.usage.completion_tokens for entry in entries),
        busy_seconds=sum(entry.total_seconds for entry in entries),
    )
