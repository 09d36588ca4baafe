"""Tables of accounts in the control database. Times are seconds since the epoch."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from resources.database.control import metadata

organizations = Table(
    "organizations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("callback_generation", Integer, nullable=False, default=1),
    Column("created_at", Float, nullable=False),
)
users = Table(
    "users",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(200), nullable=False),
    Column("email", String(320), unique=True),
    Column("subject", String(600), unique=True),
    Column("disabled_at", Float),
    Column("created_at", Float, nullable=False),
)
memberships = Table(
    "memberships",
    metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), primary_key=True),
    Column("role", String(16), nullable=False),
)
keys = Table(
    "keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("projects", JSON(none_as_null=True)),
    Column("agents_may_change", Boolean, nullable=False),
    Column("budget_gpu_h", Float),
    Column("budget_money", Float),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("created_at", Float, nullable=False),
    Index("ix_keys_of_organization", "organization_id", "id"),
    Index("ix_keys_of_user", "organization_id", "user_id", "id"),
)
sessions = Table(
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("created_at", Float, nullable=False),
)
sign_ins = Table(
    "sign_ins",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("content", JSON, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("used_at", Float),
)
audit = Table(
    "audit",
    metadata,
    # No sequence: it leaves a gap after a rollback, which `verify` would report as a removed entry.
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("organization_id", String(32)),
    Column("actor", String(200), nullable=False),
    Column("on_behalf_of", String(200)),
    Column("action", String(80), nullable=False),
    Column("object", String(300), nullable=False),
    Column("decision", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Index("ix_audit_of_organization", "organization_id", "number"),
)
answered = Table(
    "answered_requests",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("principal", String(80), nullable=False),
    Column("operation", String(80), nullable=False),
    Column("key", String(255), nullable=False),
    Column("body_hash", String(64), nullable=False),
    Column("answer", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("principal", "operation", "key"),
)
plans = Table(
    "plans",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("principal", String(160), nullable=False),
    Column("operation", String(80), nullable=False),
    Column("content", String(64), nullable=False),
    Column("created_at", Float, nullable=False, index=True),
)
