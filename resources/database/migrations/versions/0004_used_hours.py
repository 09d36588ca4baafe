"""What the ended jobs of a key used, summed; indexes for keys and for their
jobs that have not ended."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SUMS = """
INSERT INTO used (key_id, gpu_s, process_s)
SELECT key_id, sum(gpus * coalesce(ran_s, 0)), sum(coalesce(ran_s, 0)) FROM jobs
WHERE key_id IS NOT NULL AND status IN ('succeeded', 'failed', 'stopped') GROUP BY key_id
"""


def upgrade() -> None:
    """Make and fill the table, and put longer indexes in place of the shorter ones."""
    op.create_table(
        "used",
        sa.Column("key_id", sa.String(40), primary_key=True),
        sa.Column("gpu_s", sa.Float(), nullable=False),
        sa.Column("process_s", sa.Float(), nullable=False),
    )
    op.execute(SUMS)
    op.create_index("ix_jobs_of_key", "jobs", ["key_id", "status"])
    op.drop_index("ix_jobs_key_id", "jobs")
    op.create_index("ix_keys_of_organization", "keys", ["organization_id", "id"])
    op.create_index("ix_keys_of_user", "keys", ["organization_id", "user_id", "id"])
    op.drop_index("ix_keys_organization_id", "keys")
