"""Keys, and the ledger of calls."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("user", sa.String(128), nullable=False),
        sa.Column("team", sa.String(128)),
        sa.Column("plan", sa.String(128), nullable=False),
        sa.Column("models", sa.String),
        sa.Column("note", sa.String(128)),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("expires_at", sa.String(32)),
        sa.Column("revoked_at", sa.String(32)),
    )
    op.create_table(
        "calls",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("at", sa.String(32), nullable=False, index=True),
        sa.Column("user", sa.String(128)),
        sa.Column("team", sa.String(128)),
        sa.Column("key_id", sa.String(32)),
        sa.Column("plan", sa.String(128)),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("model", sa.String(128)),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("reason", sa.String(64)),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("exact", sa.Boolean, nullable=False),
        sa.Column("load_seconds", sa.Float),
        sa.Column("prompt_seconds", sa.Float),
        sa.Column("completion_seconds", sa.Float),
        sa.Column("first_byte_seconds", sa.Float),
        sa.Column("total_seconds", sa.Float, nullable=False),
        sa.Column("bytes_in", sa.BigInteger, nullable=False),
        sa.Column("bytes_out", sa.BigInteger, nullable=False),
        sa.Column("peer", sa.String(64), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("calls")
    op.drop_table("keys")
