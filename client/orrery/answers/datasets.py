"""What operations take and answer: datasets.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A declared dataset and its newest version."""

    project: str
    name: str
    source: str
    label: str | None
    version: str | None = None
    """Content hash of the newest version; null before the first."""
    rows: int | None = None
    task: str | None = None
    """What the newest version is for: `classification` or `regression`; null without a label."""
    task_reason: str | None = None
    """Why: `declared`, or what the values of the label are like."""
    updated_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class DatasetRemark:
    """Something that a version does not hold as its source has it."""

    subject: str
    """Name of a column, a file or a function."""
    about: Literal["column", "file", "function"]
    action: Literal["left_out", "converted", "uncertain"]
    count: int
    """Values, rows or files concerned."""
    reason: str
    example: str | None = None
    file: str | None = None
    """File of the example."""
    line: int | None = None
    """Line of the example in its file."""


@dataclass(frozen=True, kw_only=True)
class DatasetVersion:
    """One immutable version."""

    version: str
    uri: str
    source: str | None = None
    """Source that the declaration had when the version was made."""
    rows: int | None
    bytes: int | None
    task: str | None = None
    remarks: list[DatasetRemark] = field(default_factory=list)
    """What was left out or converted, and why."""
    created_at: datetime
    dagster_run_id: str
