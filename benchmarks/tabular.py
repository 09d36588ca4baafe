"""The suite `tabular` against a bare loop of NumPy and ONNX Runtime over the same rows, which makes
the same changes and computes the same metrics.

The suite reads its rows, and keeps each trial for a later attempt; neither has intervals yet.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
from numpy.random import Generator

from benchmarks.measure import in_turns, show, temporary_state
from engine.artefact import read_signature
from engine.rows import read_rows
from projects.schema import Dataset
from projects.suite_kinds import read_suite
from resources.datasets.store import DatasetStore
from resources.settings import Settings
from resources.storage.object_store import ObjectStore
from simulations.held_out import HeldOut
from simulations.kind import SuiteKind, SuiteRun
from simulations.subject import Subject
from training.contract import DatasetFiles, TrainingResult, TrainingSpec
from training.main import fit, gather

REPEATS = 5
ROWS, COLUMNS = 40_000, 10
SEEDS = [0, 1, 2]
KINDS = ("red", "green", "blue", "white")
TRIED = 10_000
SUITE = {"kind": "tabular", "seeds": SEEDS, "rows": TRIED}
LEVELS = {
    "noise": (0.1, 0.25, 0.5),
    "shift": (0.1, 0.25, 0.5),
    "outliers": (0.01, 0.05),
    "swaps": (0.05, 0.1),
    "drift": (0.25, 0.5),
}
Columns = dict[str, np.ndarray]
"""Numbers float64 [rows], and texts."""


def main() -> None:
    """Print rows tried per second."""
    with temporary_state() as state:
        dataset = made_dataset(state)
        trained = trained_on(state, dataset)
        assert trained.artefact and trained.artefact_digest
        tried = (1 + len(SEEDS) * sum(map(len, LEVELS.values()))) * TRIED
        subject = Subject(trained.artefact, trained.artefact_digest)
        files, label = dataset.test, dataset.label

        def platform() -> float:
            suite = read_suite(SUITE)
            assert isinstance(suite, SuiteKind)
            with tempfile.TemporaryDirectory() as folder:
                held_out = HeldOut(subject, files, label, "tries", "model")
                began = time.perf_counter()
                suite.outcomes(SuiteRun(subject, held_out, Path(folder)))
                return tried / (time.perf_counter() - began)

        def bare() -> float:
            session = _session(trained.artefact)
            began = time.perf_counter()
            _bare(session, files, dataset.classes)
            return tried / (time.perf_counter() - began)

        values = in_turns({"bare loop": bare, "platform": platform}, REPEATS)
    show("The suite tabular", "rows/s", values, "bare loop", ">= 0.9")


def made_dataset(state: Path) -> DatasetFiles:
    """A table of numbers and a category, and a class to predict."""
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((ROWS, COLUMNS))
    kind = generator.integers(0, len(KINDS), ROWS)
    score = rows[:, 0] * rows[:, 1] + kind + generator.standard_normal(ROWS)
    table = pa.table(
        {
            **{f"x{i}": rows[:, i] for i in range(COLUMNS)},
            "kind": np.array(KINDS)[kind],
            "level": np.array(["low", "middle", "high"])[np.digitize(score, [1, 2])],
        }
    )
    declared = Dataset.model_validate(
        {"source": "files:rows.parquet", "label": "level", "split": {"test": TRIED / ROWS}}
    )
    store = DatasetStore(ObjectStore(Settings().object_root, state / "cache"))
    version = store.write("bench", "rows", declared, table)
    return DatasetFiles(**version.model_dump(include=set(DatasetFiles.model_fields)))


def trained_on(state: Path, dataset: DatasetFiles) -> TrainingResult:
    """Boosted trees of the table."""
    workdir = state / "training"
    workdir.mkdir()
    spec = TrainingSpec(
        job="bench",
        workdir=workdir,
        timeout_s=600,
        project="bench",
        model="model",
        trainer="training.tables:train",
        hyperparameters={"iterations": 50},
        seed=0,
        dataset=dataset,
    )
    return gather(spec, fit(spec, use_gpu=False), "cpu")


def _session(artefact: Path | None) -> onnxruntime.InferenceSession:
    assert artefact and read_signature(artefact).probabilities
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(artefact / "model.onnx", options)


def _bare(
    session: onnxruntime.InferenceSession, files: list[str], classes: list[str]
) -> dict[tuple[str, float, int], list[float]]:
    table = read_rows(files).slice(0, TRIED)
    columns: Columns = {f"x{i}": table.column(f"x{i}").to_numpy() for i in range(COLUMNS)}
    columns["kind"] = np.array(table.column("kind").to_pylist(), object)
    place = {name: position for position, name in enumerate(classes)}
    truth = np.array([place[name] for name in table.column("level").to_pylist()])
    every = np.ones(len(truth), bool)
    clean = _scores(session, columns)
    measured = {("clean", 0.0, 0): _metrics(truth, clean, every)}
    for name, levels in LEVELS.items():
        for level in levels:
            for seed in SEEDS:
                generator = np.random.default_rng([seed, len(measured)])
                if name == "drift":
                    scores, part = clean, _kept(columns, level, generator)
                else:
                    changed = {**columns, **CHANGES[name](columns, level, generator)}
                    scores, part = _scores(session, changed), every
                measured[name, level, seed] = _metrics(truth, scores, part)
    return measured


def _scores(session: onnxruntime.InferenceSession, columns: Columns) -> np.ndarray:
    numbers = np.stack([columns[name] for name in _numbers(columns)], axis=1).astype(np.float32)
    given = {"numbers": numbers, "categories": columns["kind"][:, None]}
    return np.asarray(session.run(["probabilities"], given)[0]).astype(np.float64)


def _metrics(truth: np.ndarray, scores: np.ndarray, part: np.ndarray) -> list[float]:
    """Accuracy, balanced accuracy, macro F1 and log loss."""
    truth, scores = truth[part], scores[part]
    found, count = scores.argmax(axis=1), scores.shape[1]
    both = np.bincount(truth[truth == found], minlength=count)
    true, said = np.bincount(truth, minlength=count), np.bincount(found, minlength=count)
    own = np.maximum(scores[np.arange(len(truth)), truth], 1e-12)
    f1 = 2 * both / np.maximum(true + said, 1)
    recall = both / np.maximum(true, 1)
    loss = -np.log(own).mean()
    return [float(both.sum() / len(truth)), float(recall.mean()), float(f1.mean()), float(loss)]


def _numbers(columns: Columns) -> list[str]:
    return [name for name in columns if name != "kind"]


def _noise(columns: Columns, level: float, generator: Generator) -> Columns:
    return {
        name: columns[name]
        + level * columns[name].std() * generator.standard_normal(len(columns[name]))
        for name in _numbers(columns)
    }


def _shift(columns: Columns, level: float, generator: Generator) -> Columns:
    return {
        name: columns[name] + generator.choice([-1, 1]) * level * columns[name].std()
        for name in _numbers(columns)
    }


def _outliers(columns: Columns, level: float, generator: Generator) -> Columns:
    changed = {name: columns[name].copy() for name in _numbers(columns)}
    hit = np.flatnonzero(generator.random(len(columns["kind"])) < level)
    which = generator.integers(0, len(changed), len(hit))
    for place, (name, values) in enumerate(changed.items()):
        rows = hit[which == place]
        signs = generator.choice([-1, 1], len(rows))
        values[rows] = columns[name].mean() + signs * 6 * columns[name].std()
    return changed


def _swaps(columns: Columns, level: float, generator: Generator) -> Columns:
    kinds = columns["kind"].copy()
    for row in np.flatnonzero(generator.random(len(kinds)) < level):
        others = [each for each in KINDS if each != kinds[row]]
        kinds[row] = others[generator.integers(len(others))]
    return {"kind": kinds}


def _kept(columns: Columns, level: float, generator: Generator) -> np.ndarray:
    rows = np.stack([columns[name] for name in _numbers(columns)], axis=1)
    score = (rows - rows.mean(axis=0)) / rows.std(axis=0) @ generator.standard_normal(rows.shape[1])
    return np.argsort(np.argsort(score)) >= level * len(score)


CHANGES: dict[str, Callable[[Columns, float, Generator], Columns]] = {
    "noise": _noise,
    "shift": _shift,
    "outliers": _outliers,
    "swaps": _swaps,
}
