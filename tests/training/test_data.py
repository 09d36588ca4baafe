"""Rows of a dataset are handed over in batches."""

import numpy as np
import pyarrow as pa
import pytest

from engine.rows import count_rows
from tests.training.tables import files_of
from training import data
from training.data import batches

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
