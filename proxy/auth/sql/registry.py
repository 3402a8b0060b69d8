"""Finds what is on record in SQLite or PostgreSQL, and changes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    Table,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from proxy.auth import Act, Change, Denial, Holder, Key, Record, Team, User
from proxy.auth.sql import tables
from proxy.auth.sql.rows import (
    Row,
    act_of,
    changed,
    denial_of,
    holder_of,
    key_of,
    row_of,
    team_of,
    user_of,
    whose,
    written,
)
from proxy.auth.sql.transactions import NEWEST, PAGE, changing, reading, writing

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

Noun = TypeVar("Noun")
Where = ColumnElement[bool]

_FIND = (
    select(tables.keys, tables.users, tables.teams)
    .select_from(
        tables.keys.outerjoin(tables.users, tables.users.c.name == tables.keys.c.user).outerjoin(
            tables.teams, tables.teams.c.name == tables.keys.c.team
        )
    )
    .where(tables.keys.c.id == bindparam("wanted"))
)
_ONE_ROW = select(literal(1).label("one")).subquery()  # Even where there is no such user, there may be the team.
_BELONGING = select(tables.users, tables.teams).select_from(
    _ONE_ROW.outerjoin(tables.users, tables.users.c.name == bindparam("wanted")).outerjoin(
        tables.teams, tables.teams.c.name == func.coalesce(bindparam("its_team"), tables.users.c.team)
    )
)


_USED = (
    update(tables.keys)
    .where(tables.keys.c.id == bindparam("wanted"))
    .values(
        last_used_at=case(
            (tables.keys.c.last_used_at >= bindparam("moment"), tables.keys.c.last_used_at), else_=bindparam("moment")
        ),
        former_used_at=case(
            (
                or_(bindparam("former", type_=String).is_(None), tables.keys.c.former_used_at >= bindparam("former")),
                tables.keys.c.former_used_at,
            ),
            else_=bindparam("former"),
        ),
    )
)


class SqlRegistry:
    """A ``Registry``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def find(self, key_id: str) -> Holder | None:
        async with reading(self._engine) as connection:
            row = (await connection.execute(_FIND, {"wanted": key_id})).first()
        return None if row is None else holder_of(row)

    async def belonging(self, user: str, team: str | None) -> tuple[User | None, Team | None]:
        async with reading(self._engine) as connection:
            row = (await connection.execute(_BELONGING, {"wanted": user, "its_team": team})).one()
        return whose(row)

    async def denials(self) -> list[Denial]:
        there = tables.denials
        return await self._all(select(there).order_by(there.c.at, *there.primary_key.columns), denial_of)

    async def acts(self, after: int = 0, *, last: int | None = None) -> list[Act]:
        newer = select(tables.acts).where(tables.acts.c.number > after)
        if last is None:
            return await self._all(newer.order_by(tables.acts.c.number), act_of)
        newest_first = newer.order_by(tables.acts.c.number.desc()).limit(last)
        return (await self._all(newest_first, act_of))[::-1]

    async def newest_act(self) -> int:
        async with reading(self._engine) as connection:
            return int((await connection.execute(NEWEST)).scalar_one())

    async def used(self, at: Mapping[tuple[str, bool], datetime]) -> None:
        if not at:
            return
        latest: dict[str, dict[str, str | None]] = {}
        for (key_id, is_former), moment in sorted(at.items(), key=itemgetter(1)):
            row = latest.setdefault(key_id, {"wanted": key_id, "former": None})
            row["moment"] = written(moment)
            if is_former:
                row["former"] = row["moment"]
        # In one order: two gates that each held a key for which the other waits would wait for ever.
        rows = [latest[key_id] for key_id in sorted(latest)]
        async with writing(self._engine) as connection:
            for start in range(0, len(rows), PAGE):  # SQLAlchemy keeps the loop while it prepares them.
                await connection.execute(_USED, rows[start : start + PAGE])

    async def keys(self) -> list[Key]:
        return await self._all(select(tables.keys).order_by(tables.keys.c.created_at, tables.keys.c.id), key_of)

    async def users(self) -> list[User]:
        return await self._all(select(tables.users).order_by(tables.users.c.name), user_of)

    async def teams(self) -> list[Team]:
        return await self._all(select(tables.teams).order_by(tables.teams.c.name), team_of)

    async def add(
        self,
        acts: Sequence[Act],
        *,
        keys: Sequence[Key] = (),
        users: Sequence[User] = (),
        teams: Sequence[Team] = (),
        after: int | None = None,
    ) -> None:
        async with changing(self._engine) as change:
            if after is not None:
                change.expect(after)
            await change.put(tables.keys, [row_of(one) for one in keys])
            await change.put(tables.users, [row_of(one) for one in users])
            await change.put(tables.teams, [row_of(one) for one in teams])
            await change.record(*acts)

    async def update_key(self, key_id: str, change: Change[Key], act: Act) -> Key | None:
        return await self._update(tables.keys, tables.keys.c.id == key_id, change, act, key_of)

    async def update_user(self, name: str, change: Change[User], act: Act) -> User | None:
        return await self._update(tables.users, tables.users.c.name == name, change, act, user_of)

    async def update_team(self, name: str, change: Change[Team], act: Act) -> Team | None:
        return await self._update(tables.teams, tables.teams.c.name == name, change, act, team_of)

    async def revoke(self, key_id: str, at: datetime, act: Act) -> Key | None:
        this = tables.keys.c.id == key_id
        async with changing(self._engine) as change:
            live = this & tables.keys.c.revoked_at.is_(None)
            row = await _updated(change.connection, tables.keys, live, {"revoked_at": written(at)})
            if row is None:
                row = await _row(change.connection, tables.keys, this)
            else:
                await change.record(act)
        return None if row is None else key_of(row)

    async def rotate(self, key_id: str, old: bytes, new: bytes, until: datetime, act: Act) -> Key | None:
        there = (tables.keys.c.id == key_id) & (tables.keys.c.digest == old) & tables.keys.c.revoked_at.is_(None)
        secrets = {"digest": new, "former_digest": old, "former_until": until, "former_used_at": None}
        return await self._update(tables.keys, there, lambda _: secrets, act, key_of)

    async def deny(self, denial: Denial, act: Act) -> None:
        this = _denied(denial.issuer, denial.claim, denial.value)
        async with changing(self._engine) as change:
            if await _row(change.connection, tables.denials, this) is None:
                await change.connection.execute(insert(tables.denials), [row_of(denial)])
                await change.record(act)

    async def allow(self, issuer: str, claim: str, value: str, act: Act) -> bool:
        async with changing(self._engine) as change:
            gone = await change.connection.execute(delete(tables.denials).where(_denied(issuer, claim, value)))
            if gone.rowcount:
                await change.record(act)
            return gone.rowcount > 0

    async def record(self, act: Act) -> None:
        async with changing(self._engine) as change:
            await change.record(act)

    async def _update(
        self, table: Table, where: Where, change: Change[Record], act: Act, noun: Callable[[Row], Record]
    ) -> Record | None:
        async with changing(self._engine) as here:
            row = await _row(here.connection, table, where)
            if row is None:
                return None
            before = noun(row)
            values = changed(type(before), change(before))
            if not values:
                return before
            row = await _updated(here.connection, table, where, values)
            await here.record(act)
            return None if row is None else noun(row)

    async def _all(self, wanted: Select[Any], noun: Callable[[Row], Noun]) -> list[Noun]:
        async with reading(self._engine) as connection:
            return [noun(row) for row in (await connection.execute(wanted)).mappings()]


def _denied(issuer: str, claim: str, value: str) -> Where:
    there = tables.denials.c
    return (there.issuer == issuer) & (there.claim == claim) & (there.value == value)


async def _row(connection: AsyncConnection, table: Table, where: Where) -> Row | None:
    return (await connection.execute(select(table).where(where))).mappings().first()


async def _updated(connection: AsyncConnection, table: Table, where: Where, values: Mapping[str, Any]) -> Row | None:
    """The row as it is now; None where there is no such."""
    done = await connection.execute(update(table).where(where).values(dict(values)).returning(table))
    row: Row | None = done.mappings().first()
    return row
