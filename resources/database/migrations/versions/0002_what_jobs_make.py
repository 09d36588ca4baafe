"""What jobs make and how far they are; plans of agents; lists that stay flat."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = (
    sa.Column("progress", sa.JSON(), nullable=True),
    sa.Column("ran_s", sa.Float(), nullable=True),
    sa.Column("made", sa.JSON(), nullable=True),
    sa.Column("verdict", sa.String(length=16), nullable=True),
    sa.Column("on_behalf_of", sa.String(length=200), nullable=True),
)
INDEXES = {
    "ix_jobs_of_organization": ["organization_id", "id"],
    "ix_jobs_of_status": ["organization_id", "status", "id"],
    "ix_jobs_of_kind_and_status": ["organization_id", "kind", "status", "id"],
    "ix_jobs_of_project": ["organization_id", "project", "id"],
    "ix_jobs_of_name": ["organization_id", "name", "id"],
}


def upgrade() -> None:
    """Add the columns, the indexes and the table of plans."""
    for column in COLUMNS:
        op.add_column("jobs", column)
    for name, columns in INDEXES.items():
        op.create_index(name, "jobs", columns)
    op.create_table(
        "plans",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("principal", sa.String(length=160), nullable=False),
        sa.Column("operation", sa.String(length=80), nullable=False),
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_plans")),
    )
    op.create_index("ix_plans_created_at", "plans", ["created_at"])
