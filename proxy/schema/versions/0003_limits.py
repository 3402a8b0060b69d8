"""A key's own limits, and what quotas are counted by."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COUNTS = (
    "requests_per_minute",
    "request_burst",
    "tokens_per_minute",
    "token_burst",
    "concurrent",
    "tokens_per_day",
    "tokens_per_month",
)
SUBJECTS = ("key_id", "user", "team")


def upgrade() -> None:
    for name in COUNTS:
        op.add_column("keys", sa.Column(name, sa.BigInteger))
    op.add_column("keys", sa.Column("gpu_seconds_per_day", sa.Float))
    op.add_column("calls", sa.Column("gpu_seconds", sa.Float, nullable=False, server_default=sa.text("0")))
    for name in SUBJECTS:
        op.create_index(f"ix_calls_{name}_at", "calls", [name, "at"])


def downgrade() -> None:
    for name in SUBJECTS:
        op.drop_index(f"ix_calls_{name}_at", "calls")
    op.drop_column("calls", "gpu_seconds")
    op.drop_column("keys", "gpu_seconds_per_day")
    for name in reversed(COUNTS):
        op.drop_column("keys", name)
