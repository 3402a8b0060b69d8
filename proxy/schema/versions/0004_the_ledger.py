"""Calls that go on, how far journals have come, sums that outlive their calls, and what calls cost in money."""

from typing import Literal

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

GROUPED = ("user", "team", "key_id", "model", "endpoint", "outcome")
COUNTED = ("calls", "refused", "estimated", "suspicious", "prompt_tokens", "completion_tokens")
MEASURED = ("load_seconds", "gpu_seconds", "total_seconds", "cost", "elsewhere", "watt_hours")
MONEY = ("cost", "elsewhere", "watt_hours")
SUBJECTS = ("key_id", "user", "team")
"""By which calls were found before there were sums."""


def upgrade() -> None:
    for name in SUBJECTS:
        op.drop_index(f"ix_calls_{name}_at", "calls")
    # SQLite can learn to give no number twice only with a new table.
    with op.batch_alter_table("calls", recreate=_recreates(), table_kwargs={"sqlite_autoincrement": True}) as calls:
        calls.add_column(sa.Column("suspicious", sa.Boolean, nullable=False, server_default=sa.false()))
        for name in MONEY:
            calls.add_column(sa.Column(name, sa.Float))
    op.create_index("ix_calls_user_seq", "calls", ["user", "seq"])
    op.create_table(
        "running",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("journal", sa.String(32), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("user", sa.String(128)),
        sa.Column("team", sa.String(128)),
        sa.Column("key_id", sa.String(32)),
        sa.Column("plan", sa.String(128)),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("model", sa.String(128)),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("peer", sa.String(64), nullable=False),
        sa.Column("prompt_floor", sa.BigInteger, nullable=False),
        sa.Column("told", sa.Text),
    )
    op.create_index("ix_running_at", "running", ["at"])
    op.create_index("ix_running_journal", "running", ["journal"])
    op.create_table(
        "journals",
        sa.Column("journal", sa.String(32), primary_key=True),
        sa.Column("segment", sa.BigInteger, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
    )
    for name in ("quarters", "days"):
        op.create_table(
            name,
            sa.Column("at", sa.String(16), primary_key=True),
            *(sa.Column(group, sa.String(128), primary_key=True) for group in GROUPED),
            *(sa.Column(count, sa.BigInteger, nullable=False) for count in COUNTED),
            *(sa.Column(measure, sa.Float, nullable=False) for measure in MEASURED),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "about",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.String(128), nullable=False),
    )
    _sum_up_what_is_there()


def _sum_up_what_is_there() -> None:
    """The sums of the calls that were kept before there were any, by the quarter and by the day of UTC."""
    minute = "CAST(substr(at, 15, 2) AS INTEGER) / 15 * 15"
    quarter = f"substr(at, 1, 14) || CASE WHEN {minute} = 0 THEN '00' ELSE CAST({minute} AS VARCHAR(2)) END"
    for table, at in (("quarters", quarter), ("days", "substr(at, 1, 10)")):
        known = "CASE WHEN prompt_tokens + completion_tokens > 0 OR gpu_seconds > 0 THEN model END"
        named = [known if name == "model" else f'"{name}"' for name in GROUPED]
        groups = ", ".join(f"COALESCE({name}, '')" for name in named)
        columns = ", ".join(f'"{name}"' for name in ("at", *GROUPED, *COUNTED, *MEASURED))
        op.execute(
            f"INSERT INTO {table} ({columns}) SELECT {at}, {groups}, COUNT(*),"  # noqa: S608  Names of our own only.
            " SUM(CASE WHEN outcome = 'refused' THEN 1 ELSE 0 END), SUM(CASE WHEN exact THEN 0 ELSE 1 END), 0,"
            " SUM(prompt_tokens), SUM(completion_tokens), SUM(COALESCE(load_seconds, 0)), SUM(gpu_seconds),"
            f" SUM(total_seconds), 0, 0, 0 FROM calls GROUP BY {at}, {groups}"
        )
    op.execute("INSERT INTO about (name, value) VALUES ('time_zone', 'UTC')")


def downgrade() -> None:
    for name in ("about", "days", "quarters", "journals", "running"):
        op.drop_table(name)
    op.drop_index("ix_calls_user_seq", "calls")
    with op.batch_alter_table("calls", recreate=_recreates()) as calls:
        for name in (*MONEY, "suspicious"):
            calls.drop_column(name)
    for name in SUBJECTS:
        op.create_index(f"ix_calls_{name}_at", "calls", [name, "at"])


def _recreates() -> Literal["always", "never"]:
    return "always" if op.get_bind().dialect.name == "sqlite" else "never"
