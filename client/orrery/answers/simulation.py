"""What operations take and answer: simulation.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orrery.answers.declared import Criterion


@dataclass(frozen=True, kw_only=True)
class MeasuredClaim:
    """An estimate with its confidence interval."""

    scenario: str
    metric: str
    gated: bool
    estimate: float
    low: float
    high: float
    n: int
    method: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a simulation measured about one model version, and what the gate says of it."""

    simulation: str
    model_version: int
    artefact_digest: str
    verdict: str
    """`pass`, `fail`, `inconclusive`, or `missing` where it was not run on these bytes."""
    findings: list[str]
    """The decisive scenario of every criterion, with its numbers."""
    measurements: list[MeasuredClaim] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A declared suite of scenarios for a model, and what it says of the newest version."""

    id: str
    """`project.simulation`."""
    project: str
    name: str
    model: str
    kind: str
    suite: dict[str, Any]
    gate: dict[str, Criterion]
    state: str
    """Status of its newest job, or `idle`."""
    job_id: str | None = None
    evidence: Evidence | None = None
    """On the newest model version; null while there is none."""
    declared_in: str
    etag: str


@dataclass(frozen=True, kw_only=True)
class AllEvidence:
    """What every simulation says of a model version, and whether it may serve."""

    model_version: int
    artefact_digest: str
    may_serve: bool
    evidence: list[Evidence]
    checked_at: datetime
