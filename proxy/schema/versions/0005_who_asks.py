"""Users and teams, more of a key's life, tokens that are refused, and the audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

AMOUNTS = (
    "requests_per_minute",
    "request_burst",
    "tokens_per_minute",
    "token_burst",
    "concurrent",
    "tokens_per_day",
    "tokens_per_month",
)
TIMES = ("suspended_at", "former_until", "last_used_at", "former_used_at")


def upgrade() -> None:
    op.add_column("keys", sa.Column("kind", sa.String(16), nullable=False, server_default="api_key"))
    op.add_column("keys", sa.Column("former_digest", sa.LargeBinary(32)))
    for name in TIMES:
        op.add_column("keys", sa.Column(name, sa.String(32)))
    op.create_table(
        "users",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("team", sa.String(128)),
        sa.Column("plan", sa.String(128)),
        sa.Column("note", sa.String(128)),
        sa.Column("suspended_at", sa.String(32)),
        *(sa.Column(name, sa.BigInteger) for name in AMOUNTS),
        sa.Column("gpu_seconds_per_day", sa.Float),
    )
    op.create_table(
        "teams",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("note", sa.String(128)),
        sa.Column("suspended_at", sa.String(32)),
        *(sa.Column(name, sa.BigInteger) for name in AMOUNTS),
        sa.Column("gpu_seconds_per_day", sa.Float),
    )
    op.create_table(
        "denials",
        sa.Column("issuer", sa.String(128), primary_key=True),
        sa.Column("claim", sa.String(16), primary_key=True),
        sa.Column("value", sa.String(256), primary_key=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("note", sa.String(128)),
    )
    op.create_table(
        "acts",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO counters (name, value) VALUES ('acts', 0)")
    _put_on_record_whom_keys_name()


def _put_on_record_whom_keys_name() -> None:
    """Users and teams, as old as their oldest key: the names alone, for nobody has said more of them."""
    op.execute('INSERT INTO users (name, created_at) SELECT "user", MIN(created_at) FROM keys GROUP BY "user"')
    op.execute(
        "INSERT INTO teams (name, created_at)"
        " SELECT team, MIN(created_at) FROM keys WHERE team IS NOT NULL GROUP BY team"
    )


def downgrade() -> None:
    # An older gate knows of no suspension and of no identity: nobody may be let in by that.
    for table, column in (("users", "user"), ("teams", "team")):
        op.execute(
            f'UPDATE keys SET suspended_at = (SELECT suspended_at FROM {table} WHERE name = keys."{column}")'  # noqa: S608  Names of our own only.
            " WHERE suspended_at IS NULL"
        )
    op.execute("UPDATE keys SET revoked_at = suspended_at WHERE revoked_at IS NULL")
    op.execute("DELETE FROM keys WHERE kind <> 'api_key'")
    for name in ("counters", "acts", "denials", "teams", "users"):
        op.drop_table(name)
    for name in (*reversed(TIMES), "former_digest", "kind"):
        op.drop_column("keys", name)
