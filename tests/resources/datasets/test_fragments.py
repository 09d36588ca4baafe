"""Versions of a dataset share the files of the rows that they have in common."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.rows import read_rows
from projects.schema import Dataset
from resources.datasets import blocks
from resources.datasets.columns import UnusableColumns
from resources.datasets.sources import Sources
from resources.datasets.store import DatasetStore
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import RequestLogs
from tests import buckets

DECLARED = Dataset.model_validate(
    {"source": "files:birds", "label": "species", "split": {"validation": 0.1}}
)
DAY_S = 86_400


def birds(begin, rows):
    row = np.arange(begin, begin + rows)
    return pa.table({"wing": row * 0.5, "species": [("wren", "tit")[k % 2] for k in row]})


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 1,024 rows."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1)


@pytest.fixture
def store(objects):
    return DatasetStore(objects)


@pytest.fixture
def made(objects, tmp_path):
    """Makes a version of what lies in the folder."""
    sources = Sources(objects, RequestLogs(tmp_path / "requests", objects))

    def make():
        with sources.rows("p", DECLARED, tmp_path) as rows:
            return DatasetStore(objects).write("p", "birds", DECLARED, rows)

    return make


def fragments(folder):
    return {
        path: path.stat().st_ino for path in folder.rglob("*.parquet") if "fragments" in path.parts
    }


def test_one_more_file_writes_the_last_block_and_the_new_ones_alone(made, tmp_path):
    (tmp_path / "birds").mkdir()
    pq.write_table(birds(0, 10_000), tmp_path / "birds" / "a.parquet")
    first = made()
    before = fragments(tmp_path)

    pq.write_table(birds(10_000, 2_000), tmp_path / "birds" / "b.parquet")
    second = made()

    after = fragments(tmp_path)
    # Nine whole blocks stay. The tenth had 784 rows, and 12,000 rows have twelve.
    assert {path: after[path] for path in before} == before
    assert len(before) == 3 * 10
    assert len(after) == 3 * 13
    for name in ("train", "test", "validation"):
        assert first.of_split[name][:9] == second.of_split[name][:9]
        assert len(second.of_split[name]) == 12
        earlier = read_rows(first.of_split[name], ["wing"]).column(0).to_pylist()
        later = read_rows(second.of_split[name], ["wing"]).column(0).to_pylist()
        assert later[: len(earlier)] == earlier
    assert second.bytes == sum(
        os.path.getsize(f) for files in second.of_split.values() for f in files
    )


def test_rows_that_come_in_one_file_or_two_are_one_version(made, tmp_path):
    (tmp_path / "birds").mkdir()
    pq.write_table(birds(0, 3_000), tmp_path / "birds" / "a.parquet")
    whole = made()
    pq.write_table(birds(0, 1_700), tmp_path / "birds" / "a.parquet")
    pq.write_table(birds(1_700, 1_300), tmp_path / "birds" / "b.parquet")

    assert made() == whole


def test_every_row_is_in_one_file(store):
    version = store.write("p", "birds", DECLARED, birds(0, 5_000))

    wings = [
        wing
        for files in version.of_split.values()
        for wing in read_rows(files, ["wing"]).column(0).to_pylist()
    ]
    assert sorted(wings) == birds(0, 5_000).column("wing").to_pylist()


def test_blocks_of_equal_rows_are_not_taken_for_one(store):
    table = pa.table({"x": [1.0] * 40_000})

    version = store.write("p", "same", Dataset(source="files:x.csv"), table)

    files = [file for files in version.of_split.values() for file in files]
    assert len(set(files)) == len(files) == 80
    assert read_rows(files).num_rows == 40_000


def age(objects, seconds):
    """Let everything have been written so long before."""
    for path in Path(objects.root).rglob("*"):
        os.utime(path, (time.time() - seconds,) * 2)


def test_files_that_no_version_names_are_listed_once_they_are_old(store, objects):
    kept = store.write("p", "birds", DECLARED, birds(0, 2_000))
    gone = store.write("p", "birds", DECLARED, birds(0, 3_000))
    objects.delete(f"datasets/p/birds/{gone.version}/version.json")

    assert store.unreferenced("p", "birds", DAY_S) == []
    age(objects, 2 * DAY_S)
    listed = store.unreferenced("p", "birds", DAY_S)

    named = {file for files in kept.of_split.values() for file in files}
    wanted = {file for files in gone.of_split.values() for file in files} - named
    assert {objects.uri(key) for key in listed} == wanted
    assert len(wanted) == 6
    for key in listed:
        objects.delete(key)
    assert read_rows(kept.train).num_rows == kept.splits["train"].rows
    # What is missing is written anew.
    assert store.write("p", "birds", DECLARED, birds(0, 3_000)) == gone
    assert read_rows(gone.train).num_rows == gone.splits["train"].rows


def test_files_of_another_declaration_of_the_version_count_as_named(store, objects):
    table = birds(0, 2_000).append_column("eggs", pa.array(range(2_000)))
    store.write("p", "birds", DECLARED, table)
    store.write("p", "birds", DECLARED.model_copy(update={"features": ["eggs"]}), table)
    age(objects, 2 * DAY_S)

    assert store.unreferenced("p", "birds", DAY_S) == []


def test_record_that_cannot_be_read_lists_nothing(store, objects):
    version = store.write("p", "birds", DECLARED, birds(0, 40))
    objects.put_text(f"datasets/p/birds/{version.version}/version.json", "{")

    with pytest.raises(ValueError, match="Expecting"):
        store.unreferenced("p", "birds", 0)


def test_refused_rows_leave_no_version_and_only_files_that_the_next_one_takes(
    store, objects, monkeypatch
):
    with monkeypatch.context() as refusing:
        refusing.setattr(
            "resources.datasets.survey.features_of",
            lambda *_: (_ for _ in ()).throw(UnusableColumns("no")),
        )
        with pytest.raises(UnusableColumns, match="files:birds: no"):
            store.write("p", "birds", DECLARED, birds(0, 2_000))
    left = {key for key, _ in objects.keys("datasets/")}

    version = store.write("p", "birds", DECLARED, birds(0, 2_000))

    named = {file for files in version.of_split.values() for file in files}
    assert {objects.uri(key) for key in left} == named


def test_file_that_is_removed_while_a_version_is_made_fails_the_write(store, objects, monkeypatch):
    first = store.write("p", "birds", DECLARED, birds(0, 2_000))
    written = pq.write_table

    def and_remove(*args, **options):
        Path(first.test[0]).unlink(missing_ok=True)
        return written(*args, **options)

    monkeypatch.setattr(pq, "write_table", and_remove)
    with pytest.raises(OSError, match="was removed while a version was made"):
        store.write("p", "birds", DECLARED, birds(0, 3_000))
    assert store.write("p", "birds", DECLARED, birds(0, 3_000)).rows == 3_000


def test_versions_share_files_in_a_bucket(tmp_path, monkeypatch):
    root = buckets.make_bucket(monkeypatch)
    objects = ObjectStore(f"{root}/orrery", tmp_path / "cache")
    store = DatasetStore(objects)
    first = store.write("p", "birds", DECLARED, birds(0, 2_500))
    written = set(objects.listed("datasets/p/birds/fragments/"))

    second = store.write("p", "birds", DECLARED, birds(0, 3_500))

    assert first.train[:2] == second.train[:2]
    assert written < set(objects.listed("datasets/p/birds/fragments/"))
    assert read_rows(second.train).num_rows == second.splits["train"].rows
    objects.delete(f"datasets/p/birds/{first.version}/version.json")
    # Buckets tell the second of a write.
    assert len(store.unreferenced("p", "birds", -2)) == 3
    assert store.unreferenced("p", "birds", DAY_S) == []


def test_two_writers_of_the_same_rows_leave_one_version(objects):
    begin = threading.Barrier(2)

    def write(_):
        begin.wait()
        return DatasetStore(objects).write("p", "birds", DECLARED, birds(0, 20_000))

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(write, range(2))

    assert one == other
    assert read_rows(one.train).num_rows == one.splits["train"].rows
    assert not [key for key, _ in objects.keys("datasets/") if key.endswith(".draft")]
