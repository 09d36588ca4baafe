"""Tables of jobs in the control database. Times are seconds since the epoch."""

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from resources.control import metadata

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
    Column("key_id", String(40), index=True),
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
    Index("ix_jobs_listing", "organization_id", "kind", "id"),
    Index("ix_jobs_due", "status", "due_at"),
)
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("organization_id", String(32), nullable=False, index=True),
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
)
