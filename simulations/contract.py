"""The specification of a simulation job, and its result."""

from pathlib import Path
from typing import Any

from engine.protocol import JobResult, JobSpec
from simulations.evidence import Evidence


class SimulationSpec(JobSpec):
    """One suite to run against one artefact."""

    project: str
    simulation: str
    model: str
    suite: dict[str, Any]
    """A declared suite (projects.suite), as JSON."""
    artefact: Path
    artefact_digest: str
    rows: list[str] = []
    """Parquet files of the held-out split, for suites that need data."""
    label: str | None = None
    python_path: list[str] = []
    """Folders that hold the code a suite names, besides the environment."""
    env_vars: dict[str, str] = {}
    """Variables of the process."""


class SimulationResult(JobResult):
    """What a simulation job measured."""

    evidence: Evidence | None = None
    results: Path | None = None
    """Parquet file: one row per scenario, seed and unit."""
    results_digest: str = ""
    pictures: list[Path] = []
    steps: int = 0
    """Environment steps or model rows evaluated."""
    seconds: float = 0.0
    """Time spent simulating, without loading and drawing."""
