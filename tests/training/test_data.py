"""Rows of a dataset are handed over in batches."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.rows import count_rows, read_first, read_rows
from tests.training.tables import files_of
from training import data
from training.data import batches
from training.evaluation import _baseline, _learned

ROWS = 4_000


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "SHUFFLED", 500)
    table = pa.table({"x": np.arange(ROWS), "w": np.ones(ROWS), "price": np.arange(ROWS) * 0.5})
    declared = {"weight": "w", "split": {"validation": 0.25}}
    return files_of(table, "price", tmp_path, **declared).model_dump()


def values(parts):
    return [value for part in parts for value in part.column("x").to_pylist()]


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_row_of_the_split_comes_once(split, seed, dataset):
    parts = list(batches(dataset, split, 100, seed))

    assert len(set(values(parts))) == len(values(parts)) == count_rows(dataset[split])
    assert max(part.num_rows for part in parts) <= 100
    assert parts[0].schema.names == ["x", "price", "w"]


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("workers", [2, 3, 7])
def test_each_of_several_workers_gets_as_many_rows_and_none_twice(
    workers, seed, dataset, monkeypatch
):
    shares = []
    for rank in range(workers):
        monkeypatch.setattr(data, "_part_and_parts", lambda rank=rank: (rank, workers))
        shares.append(values(batches(dataset, "train", 100, seed)))

    together = [value for share in shares for value in share]
    assert {len(share) for share in shares} == {count_rows(dataset["train"]) // workers}
    assert len(set(together)) == len(together)


def test_seed_decides_the_order(dataset):
    one, same, other = (values(batches(dataset, "train", 64, seed)) for seed in (1, 1, 2))

    assert one == same
    assert one != other
    assert sorted(one) == sorted(other)


@pytest.mark.parametrize(
    ("label", "declared"), [("kind", {}), ("price", {"task": "regression"})], ids=str
)
def test_baseline_is_that_of_the_training_labels_however_old_the_version_is(
    label, declared, tmp_path
):
    table = pa.table({"x": range(90), "price": range(90), "kind": ["a", "b", "b"] * 30})
    newer = files_of(table, label, tmp_path, **declared)
    older = newer.model_copy(update={"splits": {}})

    for files in (newer, older):
        scores = _baseline(_learned(files, label), 3, files.classes)
        truth = read_rows(files.train, [label]).column(0).to_pylist()
        if files.classes:
            expected = [truth.count(name) / len(truth) for name in files.classes]
            np.testing.assert_allclose(scores, [expected] * 3)
        else:
            np.testing.assert_allclose(scores, [np.mean(truth)] * 3)


def test_first_rows_come_from_as_many_files_as_they_need(tmp_path):
    files = [str(tmp_path / f"{i}.parquet") for i in range(3)]
    for i, file in enumerate(files):
        pq.write_table(pa.table({"x": [2 * i, 2 * i + 1], "y": [0, 0]}), file)

    assert read_first(files, ["x"], 3).to_pydict() == {"x": [0, 1, 2]}
    assert read_first(files, ["x"], 9).to_pydict() == {"x": [0, 1, 2, 3, 4, 5]}
