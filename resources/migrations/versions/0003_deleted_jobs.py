"""Jobs that somebody deleted: out of sight, and still counted in budgets."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("jobs", sa.Column("deleted_at", sa.Float(), nullable=True))
