"""Boosted trees through the platform, against bare scikit-learn on the same rows and settings.

Counted from the end of the first tenth of the trees to that of the ninth: rows are read before, and
the model is exported behind. Both have one thread.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.measure import in_turns, show, temporary_state
from engine import lease
from engine.rows import read_rows
from projects.schema import Dataset
from resources.compute.local import LocalCompute
from resources.datasets.store import DatasetStore
from resources.settings import Settings
from resources.storage.object_store import ObjectStore
from training.contract import DatasetFiles, TrainingResult, TrainingSpec

REPEATS = 3
ROWS, COLUMNS = 500_000, 20
TREES, TENTH = 600, 60


def main() -> None:
    """Print trees per second."""
    with temporary_state() as state:
        dataset = _dataset(state)
        contenders = {
            "bare scikit-learn": lambda: _bare(dataset),
            "platform": lambda: _platform(state, dataset),
        }
        values = in_turns(contenders, REPEATS)
    show("Boosted trees", "trees/s", values, "bare scikit-learn", ">= 0.95")


def _dataset(state: Path) -> DatasetFiles:
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((ROWS, COLUMNS), np.float32)
    score = rows[:, 0] * rows[:, 1] + np.sin(2 * rows[:, 2]) + generator.standard_normal(ROWS)
    table = pa.table({**{f"x{i}": rows[:, i] for i in range(COLUMNS)}, "above": score > 0})
    declared = Dataset.model_validate({"source": "files:rows.parquet", "label": "above"})
    store = DatasetStore(ObjectStore(Settings().object_root, state / "cache"))
    version = store.write("bench", "rows", declared, table)
    return DatasetFiles(**version.model_dump(include=set(DatasetFiles.model_fields)))


def _bare(dataset: DatasetFiles) -> float:
    """Of the difference between two fits, so that what happens once does not count."""
    torch.set_num_threads(1)  # of OpenMP, whose threads are scikit-learn's too
    table = read_rows(dataset.train, [*dataset.features, "above"])
    rows = np.stack([table.column(name).to_numpy() for name in dataset.features], axis=1)
    above = table.column("above").to_numpy()

    def seconds(trees: int) -> float:
        # Its stub knows no false.
        kind: Any = HistGradientBoostingClassifier
        model = kind(
            max_iter=trees, early_stopping=False, min_samples_leaf=5, l2_regularization=1.0
        )
        began = time.perf_counter()
        model.fit(rows, above)
        return time.perf_counter() - began

    return (TREES - 2 * TENTH) / (seconds(TREES - TENTH) - seconds(TENTH))


def _platform(state: Path, dataset: DatasetFiles) -> float:
    compute = LocalCompute(state / "work", state / "no-warm-server")
    job = f"trees-{time.time_ns()}"
    spec = TrainingSpec(
        job=job,
        workdir=compute.workdir(job),
        timeout_s=600,
        project="bench",
        model="trees",
        trainer="training.tables:train",
        hyperparameters={"iterations": TREES},
        seed=0,
        dataset=dataset,
    )
    spec.workdir.mkdir(parents=True)
    lease.renew(spec.workdir)
    marks: dict[int, float] = {}
    compute.run(
        "training.main",
        spec,
        TrainingResult,
        lambda line: marks.update({line.done: line.at}) if line.metrics else None,
    )
    return (TREES - 2 * TENTH) / (marks[TREES - TENTH] - marks[TENTH])
