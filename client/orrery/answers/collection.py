"""What operations take and answer: collection.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Total:
    """Everything of one kind with one outcome."""

    outcome: Literal["chosen", "removed", "kept", "failed"]
    kind: Literal[
        "model version",
        "evidence",
        "simulation results",
        "artefact",
        "MLflow's copy",
        "Bento",
        "checkpoint",
        "dataset version",
        "data file",
        "dagster_run",
        "run file",
        "log",
        "work folder",
    ]
    things: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A plan of what is not kept any more, and how far its removal is."""

    id: str
    state: Literal["planning", "planned", "removing", "done", "failed"]
    project: str | None
    """The one whose things it looks at; null for all."""
    asked_by: str
    message: str
    """What it waits for, or why it failed."""
    created_at: datetime
    planned_at: datetime | None
    began_at: datetime | None
    """When the removal began."""
    ended_at: datetime | None
    totals: list[Total]
    """What is chosen and still to be removed, what was removed, what stays, and what could not be
    removed; of your organization."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that was chosen, or several that stay for one reason."""

    project: str | None
    """Null for what belongs to none."""
    kind: Literal[
        "model version",
        "evidence",
        "simulation results",
        "artefact",
        "MLflow's copy",
        "Bento",
        "checkpoint",
        "dataset version",
        "data file",
        "dagster_run",
        "run file",
        "log",
        "work folder",
    ]
    name: str | None
    """Null for several."""
    outcome: Literal["chosen", "removed", "kept", "failed"]
    """`chosen` is still to be removed."""
    reason: str
    """Why it goes, why it stays, or why it could not be removed."""
    things: int
    bytes: int
    oldest: datetime | None
    """When the oldest of them was made."""
    newest: datetime | None
