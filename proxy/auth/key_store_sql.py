"""Keys on record in SQLite or PostgreSQL."""

from dataclasses import asdict, fields
from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    LargeBinary,
    MetaData,
    RowMapping,
    String,
    Table,
    insert,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from proxy.auth import Key
from proxy.errors import StorageFailed
from proxy.vocabulary import Limits

metadata = MetaData()

keys = Table(
    "keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False),
    Column("user", String(128), nullable=False),
    Column("team", String(128)),
    Column("plan", String(128), nullable=False),
    Column("models", String),
    Column("note", String(128)),
    Column("created_at", String(32), nullable=False),
    Column("expires_at", String(32)),
    Column("revoked_at", String(32)),
    Column("requests_per_minute", BigInteger),
    Column("request_burst", BigInteger),
    Column("tokens_per_minute", BigInteger),
    Column("token_burst", BigInteger),
    Column("concurrent", BigInteger),
    Column("tokens_per_day", BigInteger),
    Column("tokens_per_month", BigInteger),
    Column("gpu_seconds_per_day", Float),
)

_AMOUNTS = tuple(field.name for field in fields(Limits))


class SqlKeyStore:
    """A ``KeyStore``. Times are ISO 8601 in UTC, which sorts as text and reads the same in both databases."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, key: Key) -> None:
        row = {
            "id": key.id,
            "digest": key.digest,
            "user": key.user,
            "team": key.team,
            "plan": key.plan,
            "models": None if key.models is None else ",".join(key.models),
            "note": key.note,
            "created_at": _written(key.created_at),
            "expires_at": _written(key.expires_at),
            "revoked_at": _written(key.revoked_at),
            **asdict(key.limits),
        }
        try:
            async with self._engine.begin() as connection:
                await connection.execute(insert(keys).values(row))
        except (SQLAlchemyError, OSError) as error:
            raise StorageFailed from error

    async def find(self, key_id: str) -> Key | None:
        try:
            async with self._engine.connect() as connection:
                row = (await connection.execute(select(keys).where(keys.c.id == key_id))).mappings().first()
        except (SQLAlchemyError, OSError) as error:
            raise StorageFailed from error
        return _key(row) if row else None

    async def all(self) -> list[Key]:
        try:
            async with self._engine.connect() as connection:
                rows = (await connection.execute(select(keys).order_by(keys.c.created_at, keys.c.id))).mappings().all()
        except (SQLAlchemyError, OSError) as error:
            raise StorageFailed from error
        return [_key(row) for row in rows]

    async def update(self, key_id: str, limits: Limits) -> Key | None:
        try:
            async with self._engine.begin() as connection:
                await connection.execute(update(keys).where(keys.c.id == key_id).values(asdict(limits)))
        except (SQLAlchemyError, OSError) as error:
            raise StorageFailed from error
        return await self.find(key_id)

    async def revoke(self, key_id: str, at: datetime) -> Key | None:
        live = (keys.c.id == key_id) & keys.c.revoked_at.is_(None)
        try:
            async with self._engine.begin() as connection:
                await connection.execute(update(keys).where(live).values(revoked_at=_written(at)))
        except (SQLAlchemyError, OSError) as error:
            raise StorageFailed from error
        return await self.find(key_id)


def _key(row: RowMapping) -> Key:
    return Key(
        id=row["id"],
        digest=bytes(row["digest"]),
        user=row["user"],
        team=row["team"],
        plan=row["plan"],
        models=None if row["models"] is None else tuple(filter(None, row["models"].split(","))),
        note=row["note"],
        created_at=datetime.fromisoformat(row["created_at"]),
        expires_at=_read(row["expires_at"]),
        revoked_at=_read(row["revoked_at"]),
        limits=Limits(**{name: row[name] for name in _AMOUNTS}),
    )


def _written(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat(timespec="microseconds")


def _read(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
