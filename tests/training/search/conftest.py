"""Searches of a trainer whose loss is known, run as the processes they are."""

import json
from pathlib import Path

import pytest

from projects.search import Search
from resources.compute.local import LocalCompute
from training.contract import TrainingResult, TrainingSpec

OVER = {"x": {"uniform": [0.0, 1.0]}}


@pytest.fixture
def searched(spec_of):
    """Spec of a job that searches over x."""

    def make(job: str = "job", function: str = "train", over=None, **more) -> TrainingSpec:
        hyperparameters = {"epochs": 3, **more.pop("hyperparameters", {})}
        changes = {name: more.pop(name) for name in ("tracking", "workers") if name in more}
        declared = {"over": over or OVER, "metric": "validation_loss", "stop_early": False, **more}
        return spec_of(
            job=job,
            trainer=f"searched_training:{function}",
            hyperparameters=hyperparameters,
            search=Search.model_validate(declared),
            **changes,
        )

    return make


@pytest.fixture
def search(compute: LocalCompute):
    """Runs a job."""

    def run(spec: TrainingSpec, on_progress=lambda line: None, **more) -> TrainingResult:
        return compute.run("training.main", spec, TrainingResult, on_progress, **more)

    return run


def trials_of(result: TrainingResult) -> list[dict]:
    """Rows of the table of trials."""
    assert result.search
    return json.loads(result.search.table.read_text())


def begun(log: Path) -> list[dict]:
    """What the trainer wrote at the beginning of each epoch."""
    return [json.loads(line) for line in log.read_text().splitlines()]
