"""Tables of collections in the control database. Times are seconds since the epoch."""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from resources.database.control import metadata

collections = Table(
    "collections",
    metadata,
    Column("id", String(40), primary_key=True),
    # None for all organizations.
    Column("organization_id", String(32)),
    Column("project", Text),
    Column("asked_by", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("renewed_at", Float, nullable=False),
    Column("planned_at", Float),
    Column("began_at", Float),
    Column("ended_at", Float),
    Index("ix_collections_due", "state", "renewed_at"),
)
entries = Table(
    "collection_entries",
    metadata,
    Column("collection_id", ForeignKey("collections.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    # Of its project; a collection may be of all organizations.
    Column("organization_id", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("name", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("things", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("oldest", Float),
    Column("newest", Float),
    Index(
        "ix_collection_entries_of_outcome", "collection_id", "organization_id", "outcome", "number"
    ),
)
