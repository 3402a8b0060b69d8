"""What the book looks like in a database. Times are ISO 8601 in UTC, text that sorts and reads the same anywhere."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text, false, text

metadata = MetaData()


def _whose() -> list[Column[Any]]:
    """What is known of a call while it goes on."""
    return [
        Column("at", String(32), nullable=False, index=True),
        Column("user", String(128)),
        Column("team", String(128)),
        Column("key_id", String(32)),
        Column("plan", String(128)),
        Column("endpoint", String(64), nullable=False),
        Column("model", String(128)),
        Column("stream", Boolean, nullable=False),
        Column("peer", String(64), nullable=False),
    ]


calls = Table(
    "calls",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    *_whose(),
    Column("outcome", String(32), nullable=False),
    Column("status", Integer),
    Column("reason", String(64)),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("exact", Boolean, nullable=False),
    Column("suspicious", Boolean, nullable=False, server_default=false()),
    Column("load_seconds", Float),
    Column("prompt_seconds", Float),
    Column("completion_seconds", Float),
    Column("gpu_seconds", Float, nullable=False, server_default=text("0")),
    Column("first_byte_seconds", Float),
    Column("total_seconds", Float, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("changes", String),
    Column("prompt_cut", Boolean, nullable=False, server_default=false()),
    Column("cost", Float),
    Column("elsewhere", Float),
    Column("watt_hours", Float),
    Index("ix_calls_user_seq", "user", "seq"),  # Somebody's last calls.
    sqlite_autoincrement=True,  # Else the number of an entry that is forgotten may be given again.
)

running = Table(
    "running",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("journal", String(32), nullable=False, index=True),
    *_whose(),
    Column("prompt_floor", BigInteger, nullable=False),
    Column("told", Text),
)
"""Calls that go on, or whose gate died under them and has not begun again since."""

journals = Table(
    "journals",
    metadata,
    Column("journal", String(32), primary_key=True),
    Column("segment", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
)
"""How far each journal has come into the book."""

GROUPED = ("user", "team", "key_id", "model", "endpoint", "outcome")
"""What calls that are summed up have in common; empty where they have none."""
COUNTED = ("calls", "refused", "estimated", "suspicious", "prompt_tokens", "completion_tokens")
MEASURED = ("load_seconds", "gpu_seconds", "total_seconds", "cost", "elsewhere", "watt_hours")
"""Added up; nothing where nothing was told."""


def _sums(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("at", String(16), primary_key=True),
        *(Column(group, String(128), primary_key=True) for group in GROUPED),
        *(Column(count, BigInteger, nullable=False) for count in COUNTED),
        *(Column(measure, Float, nullable=False) for measure in MEASURED),
        sqlite_with_rowid=False,  # The key is most of the row: it is kept once.
    )


quarters = _sums("quarters")
"""Sums by the quarter of an hour, ``YYYY-MM-DDThh:mm`` in UTC, in which calls began: every day is made of those."""
days = _sums("days")
"""Sums by the day, ``YYYY-MM-DD`` in the zone that ``about`` tells."""

about = Table(
    "about", metadata, Column("name", String(32), primary_key=True), Column("value", String(128), nullable=False)
)
"""What holds for the whole book: ``time_zone``, that of ``days``. Who writes holds the row of it."""
