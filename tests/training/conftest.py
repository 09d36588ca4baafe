"""Training jobs on a real dataset version, run as the processes they are."""

import tempfile
from pathlib import Path

import pytest

from engine import lease
from engine.progress import history_of
from projects.loading import load_project
from resources.compute.local import LocalCompute
from resources.datasets.sources import Sources
from resources.datasets.store import DatasetStore
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import RequestLogs
from tests.waiting import PATIENCE_S
from training.contract import DatasetFiles, TrainingResult, TrainingSpec


@pytest.fixture
def compute(settings, warm) -> LocalCompute:
    return LocalCompute(settings.state / "work", warm)


@pytest.fixture
def iris(settings, flowers: Path) -> DatasetFiles:
    objects = ObjectStore(settings.object_root, settings.state / "cache")
    project = load_project(flowers / "flowers.yaml")
    declared = project.declaration.datasets["iris"]
    rows = Sources(objects, RequestLogs(settings.state / "requests", objects)).read(
        "flowers", declared, flowers
    )
    version = DatasetStore(objects).write("flowers", "iris", declared, rows)
    kept = {"name", "version", "train", "test", "features", "columns", "label", "classes", "task"}
    return DatasetFiles(**version.model_dump(include=kept))


@pytest.fixture
def spec_of(compute, flowers, iris):
    """Spec of a training job of the test project's functions."""

    def make(function: str = "train", job: str = "job", **changes) -> TrainingSpec:
        hyperparameters = {"epochs": 3, **changes.pop("hyperparameters", {})}
        spec = TrainingSpec(
            job=job,
            workdir=compute.workdir(job),
            timeout_s=PATIENCE_S,
            project="flowers",
            model="classifier",
            trainer=f"flowers_training:{function}",
            python_path=[str(flowers)],
            hyperparameters=hyperparameters,
            seed=1,
            dataset=iris,
        )
        spec = spec.model_copy(update=changes)
        spec.workdir.mkdir(parents=True, exist_ok=True)
        lease.renew(spec.workdir)
        return spec

    return make


@pytest.fixture
def spec_here(tmp_path):
    """Spec of a job that trains in this process."""

    def make(trainer, dataset, hyperparameters) -> TrainingSpec:
        return TrainingSpec(
            job="job",
            workdir=Path(tempfile.mkdtemp(dir=tmp_path)),
            timeout_s=PATIENCE_S,
            project="flowers",
            model="classifier",
            trainer=trainer,
            hyperparameters=hyperparameters,
            seed=1,
            dataset=dataset,
        )

    return make


@pytest.fixture
def trained_here(spec_here):
    """Trains in this process and gives the result."""

    def train(trainer, dataset, **hyperparameters) -> TrainingResult:
        # Loading it takes seconds, which other tests of this folder need not wait for.
        from training.main import fit, gather

        spec = spec_here(trainer, dataset, hyperparameters)
        return gather(spec, fit(spec, use_gpu=False), "cpu")

    return train


@pytest.fixture
def learned_here(spec_here):
    """Trains in this process, and gives the last metrics and the last checkpoint: without export
    and evaluation, which take longer than a small training."""

    def learn(trainer, dataset, **hyperparameters) -> tuple[dict[str, float], Path]:
        from training.main import fit

        spec = spec_here(trainer, dataset, hyperparameters)
        checkpoint = fit(spec, use_gpu=False).checkpoint
        return history_of(spec.workdir)[-1], checkpoint

    return learn


@pytest.fixture
def brought(iris, trained_here):
    """Brings a model in this process and gives the result."""

    def bring(model, dataset=None, **hyperparameters) -> TrainingResult:
        trainer, given = "training.finished.trainer:train", {"model": str(model)}
        return trained_here(trainer, dataset or iris, **given, **hyperparameters)

    return bring
