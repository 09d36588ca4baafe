"""What operations take and answer: catalog.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class ProjectSummary:
    """A project in a list."""

    project: str
    owner: str
    description: str
    datasets: list[str]
    models: list[str]
    simulations: list[str]
    services: list[str]
    declared_in: str
    """`file` where a file of the checkout declares it, else `api`."""
    state: Literal["usable", "broken"] = "usable"
    """A broken project goes on with its last good declaration, where there was one."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with its file, with line and what was expected."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project and its declaration."""

    project: str
    declaration: dict[str, Any]
    declared_in: str
    lineage_url: str
    """Page of its assets in the Dagster UI."""
    etag: str


@dataclass(frozen=True, kw_only=True)
class Model:
    """A declared model and where its versions stand."""

    project: str
    name: str
    registered_name: str
    trainer: str
    dataset: str | None
    newest_version: int | None = None
    champion_version: int | None = None
    """The version that may take traffic."""
    url: str
    """Page in the MLflow UI."""


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One registered version."""

    version: int
    aliases: list[str]
    artefact_digest: str
    dataset_version: str
    run_id: str
    url: str
    created_at: datetime
    test_metrics: dict[str, float] = field(default_factory=dict)
    """Metrics of the held-out split."""
    job_id: str | None = None
    """Job that made it; null where it was made in Dagster itself."""
    created_by: str | None = None
    """User who asked for it."""
    git_revision: str = ""
    """Revision of the platform's code."""
    project_revision: str = ""
    """Revision of the code beside the project's declaration."""
