"""A job that gives a service a version is of the kind `deploy`, and so is its Dagster job."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JOBS = sa.table(
    "jobs", sa.column("id", sa.String), sa.column("kind", sa.String), sa.column("spec", sa.JSON)
)


def upgrade() -> None:
    """Rename the kind, and the Dagster job that a job may still launch."""
    connection = op.get_bind()
    of_services = sa.select(JOBS.c.id, JOBS.c.spec).where(JOBS.c.kind == "release")
    for id, spec in connection.execute(of_services).all():
        launch = spec.get("launch", {})
        project = launch.get("job", "").removeprefix("release_")
        renamed = {**spec, "launch": {**launch, "job": f"deploy_{project}"}} if launch else spec
        values = {"kind": "deploy", "spec": renamed}
        connection.execute(sa.update(JOBS).where(JOBS.c.id == id).values(values))
