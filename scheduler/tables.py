"""Tables of jobs in the control database. Times are seconds since the epoch."""

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from resources.database.control import metadata

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("organization_id", String(32), nullable=False),
    Column("project", String(48), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("name", String(48), nullable=False),
    Column("status", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("created_by", String(40), nullable=False),
    Column("key_id", String(40)),
    Column("callback", Text),
    Column("gpus", Integer, nullable=False),
    Column("expected_s", Float),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("stop_asked_at", Float),
    Column("dagster_run_id", String(64), index=True),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Float, nullable=False),
    Column("progress", JSON),
    Column("ran_s", Float),
    Column("made", JSON),
    Column("verdict", String(16)),
    Column("on_behalf_of", String(200)),
    Column("deleted_at", Float),
    # Each filter of the list of jobs has an index that ends with `id`: a page is read in order, and
    # no list is sorted.
    Index("ix_jobs_listing", "organization_id", "kind", "id"),
    Index("ix_jobs_due", "status", "due_at"),
    Index("ix_jobs_of_organization", "organization_id", "id"),
    Index("ix_jobs_of_status", "organization_id", "status", "id"),
    Index("ix_jobs_of_kind_and_status", "organization_id", "kind", "status", "id"),
    Index("ix_jobs_of_project", "organization_id", "project", "id"),
    Index("ix_jobs_of_name", "organization_id", "name", "id"),
    Index("ix_jobs_of_part", "organization_id", "project", "kind", "name", "id"),
    Index("ix_jobs_of_key", "key_id", "status"),
)
used = Table(
    "used",
    metadata,
    Column("key_id", String(40), primary_key=True),
    Column("gpu_s", Float, nullable=False),
    Column("process_s", Float, nullable=False),
)
"""What the ended jobs of a key used, in seconds."""
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("organization_id", String(32), nullable=False),
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("url", Text, nullable=False),
    Column("event", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Float, nullable=False),
    Column("last_status", Integer),
    Column("last_error", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("delivered_at", Float),
    Index("ix_deliveries_due", "state", "due_at"),
    Index("ix_deliveries_of_organization", "organization_id", "id"),
    Index("ix_deliveries_of_state", "organization_id", "state", "id"),
    Index("ix_deliveries_of_job", "organization_id", "job_id", "id"),
)
