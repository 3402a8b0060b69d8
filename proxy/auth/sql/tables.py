"""What the registry looks like in a database. Times are ISO 8601 in UTC: text that sorts."""

from typing import Any

from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()


def _limits() -> list[Column[Any]]:
    """One for each of ``Limits``, by the same names."""
    return [
        Column("requests_per_minute", BigInteger),
        Column("request_burst", BigInteger),
        Column("tokens_per_minute", BigInteger),
        Column("token_burst", BigInteger),
        Column("concurrent", BigInteger),
        Column("tokens_per_day", BigInteger),
        Column("tokens_per_month", BigInteger),
        Column("gpu_seconds_per_day", Float),
    ]


keys = Table(
    "keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False, server_default="api_key"),
    Column("digest", LargeBinary(32), nullable=False),
    Column("user", String(128), nullable=False),
    Column("team", String(128)),
    Column("plan", String(128), nullable=False),
    Column("models", String),
    Column("note", String(128)),
    Column("created_at", String(32), nullable=False),
    Column("expires_at", String(32)),
    Column("suspended_at", String(32)),
    Column("revoked_at", String(32)),
    Column("former_digest", LargeBinary(32)),
    Column("former_until", String(32)),
    Column("last_used_at", String(32)),
    Column("former_used_at", String(32)),
    *_limits(),
)
"""A key names its user and its team; neither needs a row of its own."""

users = Table(
    "users",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("created_at", String(32), nullable=False),
    Column("team", String(128)),
    Column("plan", String(128)),
    Column("note", String(128)),
    Column("suspended_at", String(32)),
    *_limits(),
)

teams = Table(
    "teams",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("created_at", String(32), nullable=False),
    Column("note", String(128)),
    Column("suspended_at", String(32)),
    *_limits(),
)

denials = Table(
    "denials",
    metadata,
    Column("issuer", String(128), primary_key=True),
    Column("claim", String(16), primary_key=True),
    Column("value", String(256), primary_key=True),  # OpenID Connect lets a ``sub`` have 255 characters.
    Column("at", String(32), nullable=False),
    Column("note", String(128)),
)

acts = Table(
    "acts",
    metadata,
    # Not numbered by the database: the number of a transaction that failed would be missing for ever.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
    Column("actor", String, nullable=False),
    Column("origin", String, nullable=False),
    Column("name", String(64), nullable=False),
    Column("subject", String, nullable=False),
    Column("details", Text, nullable=False),
)
"""The audit trail. ``details`` is a JSON object."""

counters = Table(
    "counters", metadata, Column("name", String(32), primary_key=True), Column("value", BigInteger, nullable=False)
)
"""The number that was given last: ``acts``. Who changes what is on record holds the row of it until all is done."""
