"""What the gate changed in a request, and whether its prompt was cut."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("calls", sa.Column("changes", sa.String))
    op.add_column("calls", sa.Column("prompt_cut", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("calls", "prompt_cut")
    op.drop_column("calls", "changes")
