"""The newest job of a part of a project is found without looking through those of others."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INDEX = "ix_jobs_of_part"


def upgrade() -> None:
    """Make the index."""
    op.create_index(INDEX, "jobs", ["organization_id", "project", "kind", "name", "id"])
