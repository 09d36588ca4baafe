"""What operations take and answer: runs.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict


class LoggedPointFields(TypedDict, total=False):
    """One value to record. Needs name, value."""

    name: str
    value: float
    step: int
    at: datetime | None
    """By default now."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """An mlflow_run."""

    id: str
    experiment_id: str
    name: str
    status: str
    parameters: dict[str, str]
    metrics: dict[str, float | None]
    """Newest value of each metric."""
    tags: dict[str, str]
    """Tags that people and programs have set."""
    started_at: datetime | None
    ended_at: datetime | None
    url: str


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """A file of a run."""

    path: str
    bytes: int | None


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """Files of a run."""

    files: list[RunFile]


@dataclass(frozen=True, kw_only=True)
class RunFileContent:
    """A file of a run with its content."""

    path: str
    bytes: int
    base64: str
    """The content in Base64."""
