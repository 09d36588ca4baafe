"""Dataset versions: named by their content, written once, whole or not at all."""

import errno
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.rows import read_rows
from projects.schema import Dataset, Split
from resources.datasets.blocks import blocks, digest_of_block, digest_of_version
from resources.datasets.columns import UnusableColumns
from resources.datasets.remarks import Remark
from resources.datasets.sources import SourceRows
from resources.datasets.splits import SPLITS
from resources.datasets.splits import split_of as codes_of
from resources.datasets.store import DatasetStore, declaration_digest
from resources.storage.object_store import ObjectMissing, ObjectStore
from tests import buckets

WRITE = "pyarrow.parquet.write_table"
DECLARED = Dataset(source="files:birds.csv", label="species", split=Split(test=0.25, seed=3))


def birds(rows=40):
    return pa.table(
        {
            "wing": np.arange(rows, dtype=np.float64),
            "eggs": pa.array([None if i % 7 == 0 else i for i in range(rows)], pa.int64()),
            "species": ["wren" if i % 4 else "tit" for i in range(rows)],
        }
    )


@pytest.fixture
def store(objects):
    return DatasetStore(objects)


def files_of(folder):
    """Every file with its inode and time of change."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted((str(path), path.stat().st_ino, path.stat().st_mtime_ns) for path in files)


def split_of(*arguments, **named):
    """Name of every row's split."""
    return [SPLITS[code] for code in codes_of(*arguments, **named)]


def content_hash(table):
    """Hash of the rows as one split."""
    digests = [
        digest_of_block(rows, np.zeros(len(rows)), number)
        for number, rows in enumerate(blocks([table]))
    ]
    return digest_of_version(table.schema, digests)


def garbage_under_nulls(value):
    """A column whose null hides the value."""
    buffers = [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([1, value]).tobytes())]
    return pa.table({"a": pa.Array.from_buffers(pa.int64(), 2, buffers)})


def test_version_describes_its_rows(store):
    version = store.write("p", "birds", DECLARED, birds())

    assert (version.rows, version.features, version.classes) == (
        40,
        ["wing", "eggs"],
        ["tit", "wren"],
    )
    assert version.bytes == sum(Path(file).stat().st_size for file in version.train + version.test)


def test_decimals_as_queries_give_them_are_features(store):
    table = birds().append_column("song", pa.array(range(40)).cast(pa.decimal128(25, 1)))

    version = store.write("p", "birds", DECLARED, table)

    assert version.features == ["wing", "eggs", "song"]


def test_version_is_read_back_as_it_was_written(store):
    written = store.write("p", "birds", DECLARED, birds())

    assert store.read("p", "birds", written.version) == written


def test_same_bytes_are_the_same_version_and_nothing_is_written_twice(store, tmp_path):
    first = store.write("p", "birds", DECLARED, birds())
    before = files_of(tmp_path / "objects")

    second = store.write("p", "birds", DECLARED, birds())

    assert second == first
    assert files_of(tmp_path / "objects") == before


@pytest.mark.parametrize(
    "same",
    [
        lambda t: pa.concat_tables([t.slice(0, 7), t.slice(7, 1), t.slice(8)]),
        lambda t: pa.Table.from_batches(t.to_batches(max_chunksize=3)),
        lambda t: pa.concat_tables([birds(45), t]).slice(45),
        lambda t: t.replace_schema_metadata({"made by": "someone"}),
        lambda t: pa.Table.from_pylist(t.to_pylist()),
    ],
    ids=["unequal chunks", "small chunks", "slice of more rows", "metadata", "from objects"],
)
def test_layout_in_memory_does_not_change_the_hash(same):
    assert content_hash(same(birds())) == content_hash(birds())


def test_values_hidden_under_nulls_do_not_change_the_hash():
    one, other = garbage_under_nulls(7), garbage_under_nulls(9)
    assert one.equals(other)

    assert content_hash(one) == content_hash(other)


def test_row_groups_and_compression_of_the_file_do_not_change_the_hash(tmp_path):
    pq.write_table(birds(), tmp_path / "a.parquet", row_group_size=5, compression="zstd")
    pq.write_table(birds(), tmp_path / "b.parquet", use_dictionary=False, compression="none")

    hashes = {content_hash(pq.read_table(tmp_path / f"{name}.parquet")) for name in "ab"}

    assert hashes == {content_hash(birds())}


@pytest.mark.parametrize(
    "other",
    [
        lambda t: t.set_column(0, "wing", pa.array([-1.0, *t.column("wing").to_pylist()[1:]])),
        lambda t: t.rename_columns(["span", "eggs", "species"]),
        lambda t: t.set_column(0, "wing", t.column("wing").cast(pa.float32())),
        lambda t: t.slice(1),
        lambda t: t.take(list(reversed(range(40)))),
        lambda t: t.set_column(1, "eggs", t.column("eggs").fill_null(0)),
    ],
    ids=["value", "name", "type", "fewer rows", "order", "null"],
)
def test_other_content_is_another_version(other, store):
    first = store.write("p", "birds", DECLARED, birds())

    second = store.write("p", "birds", DECLARED, other(birds()))

    assert second.version != first.version


def test_other_split_is_another_version(store):
    first = store.write("p", "birds", DECLARED, birds())
    declared = DECLARED.model_copy(update={"split": Split(test=0.25, seed=4)})

    second = store.write("p", "birds", declared, birds())

    assert second.version != first.version


def test_train_and_test_are_disjoint_and_complete(store):
    version = store.write("p", "birds", DECLARED, birds())

    train, test = (
        read_rows(files, ["wing"]).column("wing").to_pylist()
        for files in (version.train, version.test)
    )

    assert sorted(train + test) == birds().column("wing").to_pylist()
    assert abs(len(test) - 10) <= 1


def test_split_is_stratified_by_the_label():
    labels = pa.chunked_array([["a"] * 60, ["b"] * 36, ["c"] * 4])

    split = split_of(100, labels, Split(test=0.25, seed=1))

    held_out = Counter(
        label for label, part in zip(labels.to_pylist(), split, strict=True) if part == "test"
    )
    assert held_out["c"] == 1
    assert abs(held_out["a"] - 15) <= 1
    assert abs(held_out["b"] - 9) <= 1


def test_split_is_the_same_for_the_same_seed():
    splits = [split_of(50, None, Split(test=0.3, seed=5)) for _ in range(2)]

    assert splits[0] == splits[1]


def test_split_is_another_for_another_seed():
    splits = [split_of(50, None, Split(test=0.3, seed=seed)) for seed in (5, 6)]

    assert splits[0] != splits[1]
    assert all(abs(split.count("test") - 15) <= 1 for split in splits)


def test_split_does_not_stratify_by_a_measured_number():
    labels = pa.chunked_array([np.linspace(0, 1, 100)])

    split = split_of(100, labels, Split(test=0.2, seed=1))

    assert abs(split.count("test") - 20) <= 1


@pytest.mark.parametrize("seam", [WRITE, "put_text"])
def test_interrupted_write_leaves_no_version(seam, store, objects, tmp_path, monkeypatch):
    expected = DatasetStore(ObjectStore(str(tmp_path / "other"), tmp_path)).write(
        "p", "birds", DECLARED, birds()
    )
    interrupt(monkeypatch, seam, objects)

    with pytest.raises(OSError, match="No space left"):
        store.write("p", "birds", DECLARED, birds())

    with pytest.raises(ObjectMissing, match="materialise it again"):
        store.read("p", "birds", expected.version)


@pytest.mark.parametrize("seam", [WRITE, "put_text"])
def test_write_after_an_interrupted_one_succeeds(seam, store, objects, monkeypatch):
    with monkeypatch.context() as interrupted:
        interrupt(interrupted, seam, objects)
        with pytest.raises(OSError, match="No space left"):
            store.write("p", "birds", DECLARED, birds())

    version = store.write("p", "birds", DECLARED, birds())

    files = version.train + version.test
    assert sorted(read_rows(files, ["wing"]).column("wing").to_pylist()) == list(range(40))


def interrupt(monkeypatch, seam, objects):
    """Let the disk be full when the seam is reached."""

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if seam == "put_text":
        monkeypatch.setattr(objects, "put_text", full)
    else:
        monkeypatch.setattr(seam, full)


def test_files_of_a_version_have_the_rows_in_their_types_and_order(store):
    row = np.arange(40)
    times = {
        "at": pa.array(row, pa.timestamp("us")),
        "zoned": pa.array(row, pa.timestamp("us", "UTC")),
    }
    rows = birds()
    for name, values in {**times, "day": pa.array(row, pa.int32()).cast(pa.date32())}.items():
        rows = rows.append_column(name, values)
    version = store.write("p", "birds", DECLARED, rows)

    tables = {name: read_rows(files) for name, files in version.of_split.items() if files}

    assert all(table.schema.equals(rows.schema) for table in tables.values())
    assert pa.concat_tables(tables.values()).sort_by("wing").to_pylist() == rows.to_pylist()
    assert tables["train"].column("wing").to_pylist() == sorted(
        tables["train"].column("wing").to_pylist()
    )


def test_version_lies_in_a_bucket(tmp_path, monkeypatch):
    root = buckets.make_bucket(monkeypatch)
    store = DatasetStore(ObjectStore(f"{root}/orrery", tmp_path / "cache"))

    version = store.write("p", "birds", DECLARED, birds())

    assert all(file.startswith(f"{root}/orrery/datasets/p/birds/") for file in version.train)
    assert read_rows(version.test, ["wing"]).num_rows == version.splits["test"].rows


def test_label_that_is_no_column_is_told_with_the_nearest(store):
    declared = DECLARED.model_copy(update={"label": "speces"})

    with pytest.raises(UnusableColumns, match=r"no column 'speces'.*did you mean 'species'"):
        store.write("p", "birds", declared, birds())


def test_column_may_be_named_like_what_divides_the_rows(store):
    table = birds().append_column("split", pa.array(["x"] * 40))

    version = store.write("p", "birds", DECLARED, table)

    assert read_rows(version.test, ["split"]).column(0).unique().to_pylist() == ["x"]


def test_version_knows_its_source_task_splits_and_code(store):
    version = store.write("p", "birds", DECLARED, birds(), "abc123")

    assert (version.source, version.code_revision) == ("files:birds.csv", "abc123")
    assert version.declaration_digest == declaration_digest(DECLARED)
    assert (version.task, version.task_reason) == ("classification", "2 different text values")
    assert {name: split.rows for name, split in version.splits.items()} == {"train": 31, "test": 9}
    assert version.splits["test"].class_counts == {"tit": 2, "wren": 7}


def test_remarks_of_the_reader_are_kept(store):
    remark = Remark(subject="note", action="left_out", count=3, reason="no row has a value")
    rows = SourceRows(birds(), (remark,))

    version = store.write("p", "birds", DECLARED, rows)

    assert store.read("p", "birds", version.version).remarks == [remark]


def test_many_remarks_are_counted_beyond_a_hundred(store):
    remarks = [
        Remark(subject=f"c{i}", action="converted", count=1, reason="for a reason")
        for i in range(2_000)
    ]

    version = store.write("p", "birds", DECLARED, SourceRows(birds(), tuple(remarks)))

    assert len(version.remarks) == 101
    assert version.remarks[-1].count == 1_900


@pytest.mark.parametrize(
    "other",
    [{"source": "files:others.csv"}, {"label": "wing"}, {"watch": "incoming"}],
    ids=str,
)
def test_same_rows_under_another_declaration_are_recorded_as_it_says(other, store, tmp_path):
    numbers = birds().drop_columns(["species"])
    before = Dataset(source="files:birds.csv", label="eggs", task="regression")
    after = before.model_copy(update=other)
    first = store.write("p", "birds", before, numbers)
    files = files_of(tmp_path / "objects" / "datasets" / "p" / "birds")
    parquet = [entry for entry in files if entry[0].endswith(".parquet")]

    second = store.write("p", "birds", after, numbers)

    assert second.version == first.version
    assert (second.source, second.label) == (after.source, after.label)
    assert store.read("p", "birds", second.version) == second
    assert store.read("p", "birds", second.version, declaration_digest(before)) == first
    assert [e for e in files_of(tmp_path / "objects") if e[0].endswith(".parquet")] == parquet


def test_declaration_that_returns_finds_its_record_again(store):
    numbers = birds().drop_columns(["species"])
    before = Dataset(source="files:birds.csv", label="eggs", task="regression")
    after = before.model_copy(update={"label": "wing"})
    written = [store.write("p", "birds", declared, numbers) for declared in (before, after, before)]

    assert written[2] == written[0]
    assert store.read("p", "birds", written[0].version) == written[0]
    assert store.read("p", "birds", written[0].version, declaration_digest(after)) == written[1]


@pytest.mark.parametrize(
    ("change", "shapes"),
    [
        ({"source": "files:b.csv"}, True),
        ({"label": "wing"}, True),
        ({"task": "classification"}, True),
        ({"split": Split(seed=9)}, True),
        ({"read": {"nulls": ["?"]}}, True),
        ({"features": ["wing"]}, True),
        ({"weight": "wing"}, True),
        ({"split": Split(test=0.25, seed=3, group="wing")}, True),
        ({"image": {"height": 2, "width": 2}}, True),
        ({"watch": "incoming"}, True),
        ({"expect": {"rows": {"at_least": 5}}}, False),
        ({"description": "birds"}, False),
        ({"memory": "2Gi"}, False),
    ],
    ids=str,
)
def test_digest_changes_with_what_shapes_rows(change, shapes):
    other = Dataset.model_validate({**DECLARED.model_dump(exclude_defaults=True), **change})

    assert (declaration_digest(other) != declaration_digest(DECLARED)) is shapes


def test_version_that_was_written_without_the_newer_fields_is_readable(store, objects):
    version = store.write("p", "birds", DECLARED, birds())
    newer = {
        *("task", "task_reason", "splits", "remarks", "source", "declaration_digest"),
        "code_revision",
    }
    key = f"datasets/p/birds/{version.version}/version.json"
    objects.put_text(key, version.model_dump_json(exclude=newer))

    old = store.read("p", "birds", version.version)

    assert (old.task, old.splits, old.declaration_digest) == ("classification", {}, "")
    assert store.write("p", "birds", DECLARED, birds()) == version


@pytest.mark.parametrize("share", [0.01, 0.25, 0.99])
def test_every_class_of_two_rows_has_one_in_each_split(share):
    labels = pa.chunked_array([["a"] * 2 + ["b"] * 2 + ["c"]])

    split = split_of(5, labels, Split(test=share))

    parts = {(label, part) for label, part in zip(labels.to_pylist(), split, strict=True)}
    assert parts >= {("a", "train"), ("a", "test"), ("b", "train"), ("b", "test")}


def test_split_of_a_declared_regression_is_not_stratified(store):
    table = pa.table({"wing": list(range(40)), "count": [0, 1] * 20})
    declared = Dataset(source="files:birds.csv", label="count")

    versions = {
        task: store.write("p", task, declared.model_copy(update={"task": task}), table)
        for task in ("classification", "regression")
    }

    counts = versions["classification"].splits["test"].class_counts
    assert all(abs(counts[name] - 5) <= 1 for name in "01")
    assert versions["regression"].splits["test"].class_counts == {}
    assert versions["regression"].classes == []


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("tags", "no column 'tags', the declared label: lists of type .* are no features"),
        ("when", r"the label 'when' is of type date32\[day\], expected numbers, text or booleans"),
    ],
)
def test_unusable_label_is_refused_with_its_reason(label, message, store):
    table = birds().append_column("tags", pa.array([["a"]] * 40))
    table = table.append_column("when", pa.array([19_000] * 40, pa.date32()))

    with pytest.raises(UnusableColumns, match=message):
        store.write("p", "birds", DECLARED.model_copy(update={"label": label}), table)


def test_wide_table_is_written_and_read_back(store):
    table = pa.table({f"x{i}": np.arange(8) + i for i in range(3_000)})

    version = store.write("p", "wide", Dataset(source="files:wide.csv"), table)

    rows = read_rows(version.train + version.test, ["x0", "x2999"]).sort_by("x0")
    assert rows.column("x2999").to_pylist() == list(range(2_999, 3_007))
    assert len(version.features) == 3_000
