"""A small sample of the training rows lies with every version of a dataset."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.rows import read_rows
from projects.schema import Dataset, Split
from resources.datasets import sample as sampling
from resources.datasets.sample import TrainingSample
from resources.datasets.splits import TEST, TRAIN
from resources.datasets.store import DatasetStore

DECLARED = Dataset(source="files:birds.csv", label="tail", split=Split(test=0.25, seed=3))


def birds(rows):
    return pa.table({"wing": np.arange(rows, dtype=np.float64), "tail": np.arange(rows) * 0.5})


@pytest.fixture
def store(objects):
    return DatasetStore(objects)


def sampled(codes, table, portion=1_000):
    sample = TrainingSample(codes, table.num_columns)
    for start in range(0, table.num_rows, portion):
        sample.add(table.slice(start, portion))
    return sample.taken()


def test_a_version_has_a_sample_of_its_training_rows_and_of_no_others(store):
    version = store.write("p", "birds", DECLARED, birds(30_000))

    assert version.sample == f"{version.uri}/sample.parquet"
    assert store.sample(version) == [version.sample]
    taken = pq.read_table(version.sample)
    assert (taken.num_rows, taken.column_names) == (10_000, ["wing", "tail"])
    learned = set(read_rows(version.train).column("wing").to_pylist())
    wings = taken.column("wing").to_pylist()
    assert set(wings) <= learned
    assert len(set(wings)) == 10_000
    assert store.read("p", "birds", version.version) == version


def test_a_small_version_has_all_its_training_rows_as_sample(store):
    version = store.write("p", "birds", DECLARED, birds(40))

    assert pq.read_table(version.sample).to_pylist() == read_rows(version.train).to_pylist()


def test_every_part_of_the_rows_has_its_share():
    rows = 100_000
    taken = sampled(np.full(rows, TRAIN, np.int8), birds(rows))

    counts, _ = np.histogram(taken.column("wing").to_numpy(), bins=10, range=(0, rows))
    # 10,000 drawn into ten bins: the standard deviation of each is 30.
    assert abs(counts - 1_000).max() < 150


def test_the_sample_is_the_same_however_the_rows_come():
    codes = np.where(np.arange(50_000) % 3, TRAIN, TEST).astype(np.int8)

    first, second = (sampled(codes, birds(50_000), portion) for portion in (999, 50_000))

    assert first.equals(second)


@pytest.mark.parametrize(("columns", "rows"), [(1_024, 976), (20_000, 100)])
def test_rows_of_many_columns_are_fewer(columns, rows):
    wide = pa.table({f"p{n}": np.zeros(1_000, np.float32) for n in range(columns)})

    taken = sampled(np.full(1_000, TRAIN, np.int8), wide)

    assert taken.num_rows == rows


def test_rows_of_long_texts_are_fewer_and_still_from_everywhere(monkeypatch):
    monkeypatch.setattr(sampling, "MOST_BYTES", 100_000)
    rows = 20_000
    texts = pa.table({"wing": np.arange(rows), "note": ["x" * 1_000] * rows})

    taken = sampled(np.full(rows, TRAIN, np.int8), texts)

    assert 20 <= taken.num_rows <= 100
    wings = taken.column("wing").to_numpy()
    assert (wings < rows / 2).any()
    assert (wings >= rows / 2).any()


def test_a_version_that_was_written_without_a_sample_gets_one_once(store, objects):
    version = store.write("p", "birds", DECLARED, birds(30_000))
    file = Path(version.sample)
    before = pq.read_table(file)
    file.unlink()
    record = Path(version.uri, "version.json")
    old = json.loads(record.read_text())
    del old["sample"]
    record.write_text(json.dumps(old))
    version = store.read("p", "birds", version.version)
    assert version.sample is None

    (drawn,) = store.sample(version)

    assert pq.read_table(drawn).equals(before)
    made = Path(drawn).stat().st_mtime_ns
    assert store.sample(version) == [drawn]
    assert Path(drawn).stat().st_mtime_ns == made


def test_nothing_learned_from_is_no_sample(store):
    assert TrainingSample(np.full(3, TEST, np.int8), 1).taken() is None
    version = store.write("p", "birds", DECLARED, birds(40))
    bare = version.model_copy(update={"train": [], "sample": None})
    assert store.sample(bare) == []
