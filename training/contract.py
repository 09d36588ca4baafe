"""The specification of a training job, and its result."""

import os
from pathlib import Path
from typing import Any, Literal

from engine.artefact import Column, Signature, SplitContent
from engine.protocol import Contract, JobResult, JobSpec
from projects.search import Search


class DatasetFiles(Contract):
    """One immutable dataset version, as the Parquet files of its splits."""

    name: str
    version: str
    """Content hash."""
    train: list[str]
    """Paths or s3:// addresses."""
    test: list[str] = []
    """Rows that judge the model, which no trainer is given."""
    validation: list[str] = []
    """Rows to choose between models by; empty where none are declared."""
    features: list[str]
    """Columns of numbers and booleans."""
    columns: list[Column] = []
    """Every column that a model may learn from."""
    label: str | None
    weight: str | None = None
    """Column that says how much a row counts in training: finite numbers from 0."""
    classes: list[str] = []
    """Distinct labels in sorted order, where the label is discrete."""
    task: Literal["classification", "regression", "text-generation"] | None = None
    """What is predicted from the label; None without one."""
    splits: dict[str, SplitContent] = {}
    """By `train`, `test` and `validation`; no trainer is given it."""


class MlflowRun(Contract):
    """Where metrics go; the mlflow_run exists already."""

    uri: str
    """Empty where the engine's own `ORRERY_MLFLOW_URI` says it: an address with a password is
    not told."""
    run_id: str
    experiment_id: str = ""

    @property
    def address(self) -> str:
        """Where MLflow is."""
        return self.uri or os.environ["ORRERY_MLFLOW_URI"]


class TrainingSpec(JobSpec):
    """One training job, with every floating reference resolved."""

    project: str
    model: str
    trainer: str
    """`module:function`."""
    python_path: list[str] = []
    """Folders that hold the trainer, besides the environment."""
    hyperparameters: dict[str, Any]
    search: Search | None = None
    """Search for hyperparameters in place of one training."""
    seed: int
    workers: int = 1
    min_workers: int = 1
    """Fewest workers the job goes on with; below `workers` it is elastic."""
    gpus_per_worker: int = 0
    cpus_per_worker: int = 1
    dataset: DatasetFiles | None = None
    tracking: MlflowRun | None = None
    env_vars: dict[str, str] = {}
    """Variables of the trainer's processes."""
    start: Path | None = None
    """Folder of the checkpoint of another training that this one goes on from."""
    start_reports: int = 0
    """Reports that the other training had made."""
    dry_run: bool = False
    """Whether a dry run comes before a fresh start."""
    declared_at: str = ""
    """Place of the trainer in the declaration, as errors name it."""
    ray_address: str | None = None
    """Cluster to join; without it several workers start a local one."""
    ray_storage: str = ""
    """Folder or s3:// address of the checkpoints of several workers; by default in `workdir`."""

    @property
    def units(self) -> tuple[str, int | None]:
        """Unit of progress and how many of it there are."""
        for unit in ("epoch", "iteration", "step"):
            total = self.hyperparameters.get(f"{unit}s")
            if isinstance(total, int) and not isinstance(total, bool):
                return unit, total
        return "report", None


class SearchResult(Contract):
    """What came of a search."""

    metric: str
    trials: int
    """How many were begun."""
    states: dict[str, int]
    """How many are finished, stopped and failed."""
    best: int
    """Number of the best trial, whose model is the job's."""
    value: float
    """Its value of the metric."""
    values: dict[str, Any]
    """Its values of the searched hyperparameters."""
    table: Path
    """File with every trial."""


class TrainingResult(JobResult):
    """What a training job made, all of it inside its work directory."""

    checkpoint: Path | None = None
    """Folder the job could resume from."""
    checkpoint_digest: str = ""
    artefact: Path | None = None
    """Folder of the exported artefact."""
    artefact_digest: str = ""
    signature: Signature | None = None
    metrics: dict[str, float] = {}
    """Last reported metrics, and those of the held-out split under `test_`."""
    pictures: list[Path] = []
    packages: Path | None = None
    """File with the installed distributions and their versions."""
    search: SearchResult | None = None
    reports: int = 0
    resumed_from: int = 0
    """Report at which this attempt took up the work; 0 for a fresh start."""
    first_report_at: float | None = None
    """Seconds since the epoch."""
    device: str = "cpu"
