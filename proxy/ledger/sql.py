"""The book in SQLite or PostgreSQL."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    case,
    false,
    func,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.elements import ColumnElement

from proxy.errors import StorageFailed
from proxy.ledger import Spent, Sum
from proxy.ledger.facts import facts
from proxy.vocabulary import Entry, Level, Outcome, Usage

metadata = MetaData()

calls = Table(
    "calls",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("at", String(32), nullable=False, index=True),
    Column("user", String(128)),
    Column("team", String(128)),
    Column("key_id", String(32)),
    Column("plan", String(128)),
    Column("endpoint", String(64), nullable=False),
    Column("model", String(128)),
    Column("stream", Boolean, nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("status", Integer),
    Column("reason", String(64)),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("exact", Boolean, nullable=False),
    Column("load_seconds", Float),
    Column("prompt_seconds", Float),
    Column("completion_seconds", Float),
    Column("first_byte_seconds", Float),
    Column("total_seconds", Float, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("peer", String(64), nullable=False),
    Column("changes", String),
    Column("prompt_cut", Boolean, nullable=False, server_default=false()),
    Column("gpu_seconds", Float, nullable=False, server_default=text("0")),
    # What somebody has spent this month is asked when they first call after a restart.
    Index("ix_calls_key_id_at", "key_id", "at"),
    Index("ix_calls_user_at", "user", "at"),
    Index("ix_calls_team_at", "team", "at"),
)

_GROUPED: dict[str, ColumnElement[Any]] = {
    "user": calls.c.user,
    "team": calls.c.team,
    "key": calls.c.key_id,
    "model": calls.c.model,
    "day": func.substr(calls.c.at, 1, 10),
    "endpoint": calls.c.endpoint,
}
_SUBJECTS: dict[Level, ColumnElement[Any]] = {
    Level.KEY: calls.c.key_id,
    Level.USER: calls.c.user,
    Level.TEAM: calls.c.team,
}
_INSERT: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class SqlBook:
    """A ``Book``. Times are ISO 8601 in UTC, which sorts as text and reads the same in both databases."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def write(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        insert = _INSERT[self._engine.dialect.name]
        try:
            async with self._engine.begin() as connection:
                await connection.execute(
                    insert(calls).on_conflict_do_nothing(index_elements=["id"]), [_row(entry) for entry in entries]
                )
        except (SQLAlchemyError, OSError) as error:
            raise StorageFailed from error

    async def last(self, count: int, *, user: str | None = None) -> list[Entry]:
        newest = select(calls).order_by(calls.c.seq.desc()).limit(count)
        rows = await self._all(newest if user is None else newest.where(calls.c.user == user))
        return [_entry(row) for row in reversed(rows)]

    async def since(self, mark: int, *, user: str | None = None) -> tuple[list[Entry], int]:
        newer = select(calls).where(calls.c.seq > mark).order_by(calls.c.seq)
        rows = await self._all(newer if user is None else newer.where(calls.c.user == user))
        return [_entry(row) for row in rows], rows[-1]["seq"] if rows else mark

    async def mark(self) -> int:
        rows = await self._all(select(func.coalesce(func.max(calls.c.seq), 0).label("mark")))
        return int(rows[0]["mark"])

    async def sums(self, by: str, since: datetime | None = None) -> list[Sum]:
        group = _GROUPED[by]
        refused = case((calls.c.outcome == Outcome.REFUSED, 1), else_=0)
        floor = case((calls.c.exact.is_(False), 1), else_=0)
        tokens = func.sum(calls.c.prompt_tokens + calls.c.completion_tokens)
        wanted = (
            select(
                group.label("group"),
                func.count().label("calls"),
                func.sum(refused).label("refused"),
                func.sum(floor).label("floors"),
                func.sum(calls.c.prompt_tokens).label("prompt_tokens"),
                func.sum(calls.c.completion_tokens).label("completion_tokens"),
                func.sum(calls.c.total_seconds).label("busy_seconds"),
            )
            .group_by(group)
            .order_by(*([group] if by == "day" else [tokens.desc(), group]))
        )
        if since is not None:
            wanted = wanted.where(calls.c.at >= _written(since))
        return [
            Sum(
                group=row["group"] or "",
                calls=row["calls"],
                refused=int(row["refused"]),
                floors=int(row["floors"]),
                prompt_tokens=int(row["prompt_tokens"]),
                completion_tokens=int(row["completion_tokens"]),
                busy_seconds=float(row["busy_seconds"]),
            )
            for row in await self._all(wanted)
        ]

    async def spent(
        self, level: Level, subject: str, since: datetime, *, team: str | None = None
    ) -> Mapping[str | None, Spent]:
        wanted = (
            select(
                calls.c.model,
                func.sum(calls.c.prompt_tokens + calls.c.completion_tokens).label("tokens"),
                func.sum(calls.c.gpu_seconds).label("gpu_seconds"),
            )
            .where(calls.c.at >= _written(since))
            .group_by(calls.c.model)
        )
        if level is not Level.EVERYBODY:
            wanted = wanted.where(_SUBJECTS[level] == subject)
        if level is Level.USER:
            wanted = wanted.where(calls.c.team.is_(None) if team is None else calls.c.team == team)
        return {row["model"]: Spent(int(row["tokens"]), float(row["gpu_seconds"])) for row in await self._all(wanted)}

    async def _all(self, wanted: Any) -> Sequence[RowMapping]:
        try:
            async with self._engine.connect() as connection:
                return (await connection.execute(wanted)).mappings().all()
        except (SQLAlchemyError, OSError) as error:
            raise StorageFailed from error


def _row(entry: Entry) -> dict[str, Any]:
    return {**facts(entry), "at": _written(entry.at)}  # To the microsecond: it is what they are sorted and summed by.


def _entry(row: RowMapping) -> Entry:
    return Entry(
        id=row["id"],
        at=datetime.fromisoformat(row["at"]),
        endpoint=row["endpoint"],
        outcome=Outcome(row["outcome"]),
        status=row["status"],
        reason=row["reason"],
        user=row["user"],
        team=row["team"],
        key_id=row["key_id"],
        plan=row["plan"],
        model=row["model"],
        stream=row["stream"],
        usage=Usage(
            prompt_tokens=row["prompt_tokens"],
            completion_tokens=row["completion_tokens"],
            exact=row["exact"],
            load_seconds=row["load_seconds"],
            prompt_seconds=row["prompt_seconds"],
            completion_seconds=row["completion_seconds"],
        ),
        gpu_seconds=row["gpu_seconds"],
        first_byte_seconds=row["first_byte_seconds"],
        total_seconds=row["total_seconds"],
        bytes_in=row["bytes_in"],
        bytes_out=row["bytes_out"],
        peer=row["peer"],
        changes=tuple(filter(None, (row["changes"] or "").split(", "))),
        prompt_cut=row["prompt_cut"],
    )


def _written(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")
