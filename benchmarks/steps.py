"""Training steps per second through the platform, against the bare PyTorch loop.

Counted from the end of the first epoch to that of the last but one: the last also exports.
"""

import time
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from benchmarks.measure import in_turns, show, temporary_state
from engine import lease
from projects.loading import CHECKOUT, load_project
from resources.compute.local import LocalCompute
from resources.datasets.sources import Sources
from resources.datasets.store import DatasetStore
from resources.settings import Settings
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import RequestLogs
from training.contract import DatasetFiles, TrainingResult, TrainingSpec
from training.vision import Reader

REPEATS = 3
EPOCHS = 30
BATCH = 64


def main() -> None:
    """Print optimizer steps per second."""
    with temporary_state() as state:
        dataset = dataset_of_digits(state)
        contenders = {"bare loop": _bare, "platform": lambda: _platform(state, dataset)}
        values = in_turns(contenders, REPEATS)
    show("Training", "steps/s", values, "bare loop", ">= 0.95")


def _bare() -> float:
    torch.set_num_threads(1)
    rows, targets = load_digits(return_X_y=True)
    images = torch.tensor(rows, dtype=torch.float32)[:1347]
    labels = torch.tensor(targets)[:1347]
    model = Reader(64, 10, 0.0, 16.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    marks = []
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(labels)).split(BATCH):
            loss = functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        marks.append(time.perf_counter())
    return _rate_limit(marks)


def _rate_limit(marks: list[float]) -> float:
    steps = -(-1347 // BATCH) * (EPOCHS - 2)
    return steps / (marks[-2] - marks[0])


def dataset_of_digits(state: Path) -> DatasetFiles:
    """A version of the shipped project's dataset."""
    settings = Settings()
    objects = ObjectStore(settings.object_root, state / "cache")
    project = load_project(CHECKOUT / "projects" / "digits.yaml")
    declared = project.declaration.datasets["scans"]
    rows = Sources(objects, RequestLogs(state / "requests", objects)).read(
        "digits", declared, state
    )
    version = DatasetStore(objects).write("digits", "scans", declared, rows)
    kept = {"name", "version", "train", "test", "features", "columns", "label", "classes", "task"}
    return DatasetFiles(**version.model_dump(include=kept))


def _platform(state: Path, dataset: DatasetFiles) -> float:
    compute = LocalCompute(state / "work", state / "no-warm-server")
    job = f"steps-{time.time_ns()}"
    spec = TrainingSpec(
        job=job,
        workdir=compute.workdir(job),
        timeout_s=600,
        project="digits",
        model="reader",
        trainer="training.vision:train",
        hyperparameters={"epochs": EPOCHS, "learning_rate": 2e-3, "batch_size": BATCH},
        seed=0,
        dataset=dataset,
    )
    spec.workdir.mkdir(parents=True)
    lease.renew(spec.workdir)
    marks = []
    compute.run(
        "training.main",
        spec,
        TrainingResult,
        lambda line: marks.append(line.at) if line.metrics else None,
    )
    return _rate_limit(marks)
