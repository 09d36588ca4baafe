"""What operations take and answer: checkpoints.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state that a training has reached."""

    checkpoint: str
    """Content hash."""
    state: Literal["finished", "stopped"]
    reached: int | None = None
    """Reports that the training had made; null where nobody counted."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Last metrics of the training, and those of the held-out rows."""
    workers: int | None = None
    """Workers that made it; another number may go on from it."""
    artefact_digest: str | None = None
    uri: str
    created_at: datetime | None = None
    dagster_run_id: str | None = None
    mlflow_run_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class CheckpointDetails:
    """A checkpoint, and who needs it."""

    checkpoint: str
    """Content hash."""
    state: Literal["finished", "stopped"]
    reached: int | None = None
    """Reports that the training had made; null where nobody counted."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Last metrics of the training, and those of the held-out rows."""
    workers: int | None = None
    """Workers that made it; another number may go on from it."""
    artefact_digest: str | None = None
    uri: str
    created_at: datetime | None = None
    dagster_run_id: str | None = None
    mlflow_run_id: str | None = None
    is_kept: bool
    """Whether its files are there: what is not kept can be removed (`retention`)."""
    needed_by: list[str] = field(default_factory=list)
    """Why it cannot be deleted; empty where it can."""
