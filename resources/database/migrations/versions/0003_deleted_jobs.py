"""Jobs that somebody deleted, out of sight and still counted in budgets; lists that stay flat."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_audit_of_organization": ("audit", ["organization_id", "number"]),
    "ix_deliveries_of_organization": ("deliveries", ["organization_id", "id"]),
    "ix_deliveries_of_state": ("deliveries", ["organization_id", "state", "id"]),
    "ix_deliveries_of_job": ("deliveries", ["organization_id", "job_id", "id"]),
}


def upgrade() -> None:
    """Add the column and the indexes; the shorter indexes that they cover are dropped."""
    op.add_column("jobs", sa.Column("deleted_at", sa.Float(), nullable=True))
    for name, (table, columns) in INDEXES.items():
        op.create_index(name, table, columns)
    op.drop_index("ix_audit_organization_id", "audit")
    op.drop_index("ix_deliveries_organization_id", "deliveries")
