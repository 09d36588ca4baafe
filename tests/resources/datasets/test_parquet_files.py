"""Parquet files: every type becomes a plain one, and what changes or goes is remarked on."""

import datetime as dt
import decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from projects.schema import Dataset
from resources.datasets.columns import plain
from resources.datasets.sources import SourceUnreadable
from resources.datasets.store import DatasetStore
from tests import buckets

DAY = dt.datetime(2024, 3, 31)


@pytest.fixture
def write(tmp_path):
    """Writes rows into a Parquet file of the project."""

    def of(name, columns, **more):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            columns if isinstance(columns, pa.Table) else pa.table(columns), file, **more
        )

    return of


@pytest.mark.parametrize(
    ("values", "expected", "action"),
    [
        (pa.array([1, 255], pa.uint8()), [1, 255], None),
        (pa.array([1, 65_535], pa.uint16()), [1, 65_535], None),
        (pa.array([1, 4_294_967_295], pa.uint32()), [1, 4_294_967_295], None),
        (pa.array([1, 2**63 - 1], pa.uint64()), [1, 2**63 - 1], None),
        (pa.array([1, 2**64 - 1], pa.uint64()), [1.0, 2.0**64], "converted"),
        (pa.array(np.array([0.5, 2], np.float16)), [0.5, 2.0], None),
        (pa.array([decimal.Decimal("0.25"), None]), [0.25, None], None),
        (
            pa.array([decimal.Decimal("1234567890123456789.5")] * 2),
            [1234567890123456789.5] * 2,
            "converted",
        ),
        (pa.array([90_000_000, None], pa.time64("us")), [90.0, None], "converted"),
        (pa.array([90, None], pa.time32("s")), [90.0, None], "converted"),
        (pa.array([1_500, -500], pa.duration("ms")), [1.5, -0.5], "converted"),
        (pa.array([DAY] * 2, pa.timestamp("ns")), [DAY] * 2, None),
        (pa.array([1_711_843_200_000_000_001] * 2, pa.timestamp("ns")), [DAY] * 2, "converted"),
        (pa.array([DAY] * 2, pa.timestamp("s")), [DAY] * 2, None),
        (
            pa.array([DAY] * 2, pa.timestamp("us", "Europe/Berlin")),
            [DAY.replace(tzinfo=dt.UTC)] * 2,
            "converted",
        ),
        (pa.array([DAY.date()] * 2, pa.date64()), [DAY.date()] * 2, None),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"], None),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"], None),
        (pa.array([b"a", b"\xc3\xa4"]), ["a", "ä"], "converted"),
        (pa.array([b"a", b"\xff"]), None, "left_out"),
        (pa.array([["a"], []]), None, "left_out"),
        (pa.array([[1.0], [1.0, 2.0]]), None, "left_out"),
        (pa.array([[("a", 1)]] * 2, pa.map_(pa.string(), pa.int64())), None, "left_out"),
        (pa.nulls(2), [None, None], "left_out"),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_type_becomes_a_plain_one(values, expected, action, write, rows_of):
    write("a.parquet", {"x": values, "y": [1, 2]})

    rows = rows_of("files:a.parquet")

    kept = rows.table.column("x").to_pylist() if "x" in rows.table.column_names else None
    assert kept == expected
    assert [remark.action for remark in rows.remarks] == ([action] if action else [])


@pytest.mark.parametrize(
    "kind",
    [pa.bool_(), pa.int8(), pa.int32(), pa.float32(), pa.string(), pa.date32(), pa.timestamp("us")],
)
def test_plain_type_stays(kind):
    table = pa.table({"x": pa.nulls(2, kind)})

    assert plain(table) == (table, [])


def test_every_kept_type_can_be_written(write, rows_of, objects):
    write(
        "a.parquet",
        {
            "u": pa.array([1, 2], pa.uint32()),
            "t": pa.array([1, 2], pa.time64("ns")),
            "d": pa.array([1, 2], pa.duration("ns")),
            "h": pa.array(np.array([1, 2], np.float16)),
            "z": pa.array([DAY] * 2, pa.timestamp("ns", "Asia/Tokyo")),
            "n": pa.nulls(2),
            "s": pa.array([{"a": [1, 2]}, {"a": [3, 4]}]),
            "c": pa.array(["x", "y"]).dictionary_encode(),
        },
    )

    rows = rows_of("files:a.parquet")
    version = DatasetStore(objects).write("p", "d", Dataset(source="files:a.parquet"), rows)

    assert version.features == ["u", "t", "d", "h", "s.a_0", "s.a_1"]


def test_structure_and_even_list_become_columns(write, rows_of):
    write(
        "a.parquet",
        {
            "box": pa.array([{"x": 1, "y": 2}, None]),
            "vector": pa.array([[0.5, 1.5], [2.5, 3.5]], pa.list_(pa.float32(), 2)),
        },
    )

    rows = rows_of("files:a.parquet")

    assert rows.table.to_pylist() == [
        {"box.x": 1, "box.y": 2, "vector_0": 0.5, "vector_1": 1.5},
        {"box.x": None, "box.y": None, "vector_0": 2.5, "vector_1": 3.5},
    ]


def test_row_numbers_of_pandas_are_left_out_and_its_named_index_is_kept(tmp_path, rows_of):
    import pandas

    frame = pandas.DataFrame({"x": [1, 2, 3], "y": [4, 9, 6]})
    (tmp_path / "data").mkdir()
    frame.iloc[[2, 0, 1]].to_parquet(tmp_path / "data" / "a.parquet")
    frame.set_index("y").to_parquet(tmp_path / "named.parquet")

    rows, named = rows_of("files:data"), rows_of("files:named.parquet")

    assert rows.table.column_names == ["x", "y"]
    assert [(r.subject, r.action) for r in rows.remarks] == [("__index_level_0__", "left_out")]
    assert set(named.table.column_names) == {"x", "y"}


def test_schemas_of_files_are_united(write, rows_of):
    write("data/a.parquet", {"x": [1], "c": pa.array(["p"]).dictionary_encode(), "n": pa.nulls(1)})
    write("data/b.parquet", {"n": [5], "x": [2.5], "c": ["q"], "more": [True]})

    rows = rows_of("files:data")

    assert rows.table.to_pylist() == [
        {"x": 1.0, "c": "p", "n": None, "more": None},
        {"x": 2.5, "c": "q", "n": 5, "more": True},
    ]
    assert [(r.subject, r.file) for r in rows.remarks] == [("more", "a.parquet")]


def test_types_that_no_type_holds_are_refused_with_both_files(write, rows_of):
    write("data/a.parquet", {"x": [1]})
    write("data/b.parquet", {"x": ["one"]})

    with pytest.raises(
        SourceUnreadable, match=r"b\.parquet: column 'x' is of type string, and of type int64 in a"
    ):
        rows_of("files:data")


def test_declared_type_holds_the_values_of_all_files(write, rows_of):
    write("data/a.parquet", {"x": [1], "y": [1]})
    write("data/b.parquet", {"x": ["one"], "y": ["?"]})

    rows = rows_of("files:data", read={"types": {"x": "text", "y": "number"}, "nulls": ["?"]})

    assert rows.table.to_pylist() == [{"x": "1", "y": 1.0}, {"x": "one", "y": None}]


def test_spellings_of_two_files_are_refused_with_both_files(write, rows_of):
    write("data/a.parquet", {"size": [1], "y": [1]})
    write("data/b.parquet", {"Size": [1], "y": [1]})

    with pytest.raises(
        SourceUnreadable, match=r"b\.parquet names a column 'Size' and a\.parquet names it 'size'"
    ):
        rows_of("files:data")


def test_spellings_of_one_file_are_refused(write, rows_of):
    write("a.parquet", {"size": [1], "Size": [1]})

    with pytest.raises(SourceUnreadable, match=r"a\.parquet: columns 'size' and 'Size' differ"):
        rows_of("files:a.parquet")


def test_folders_of_partitions_are_columns(write, rows_of):
    write("data/year=2023/kind=a/1.parquet", {"x": [1, 2]})
    write("data/year=2024/kind=b/1.parquet", {"x": [3]})

    rows = rows_of("files:data")

    assert rows.table.to_pylist() == [
        {"x": 1, "year": 2023, "kind": "a"},
        {"x": 2, "year": 2023, "kind": "a"},
        {"x": 3, "year": 2024, "kind": "b"},
    ]


def test_partitions_of_a_bucket_are_columns(tmp_path, write, rows_of, monkeypatch):
    root = buckets.make_bucket(monkeypatch)
    write("a.parquet", {"x": [1]})
    buckets.put("birds/year=2023/a.parquet", (tmp_path / "a.parquet").read_bytes())

    assert rows_of(f"files:{root}/birds").table.to_pylist() == [{"x": 1, "year": 2023}]


def test_numbers_as_text_are_remarked_on(write, rows_of):
    write("a.parquet", {"x": ["1", "2", "n/a?"], "name": ["a", "b", "c"]})

    (remark,) = rows_of("files:a.parquet").remarks

    assert (remark.subject, remark.action, remark.example) == ("x", "left_out", "n/a?")


def test_file_without_rows_is_refused(write, rows_of):
    write("a.parquet", pa.table({"x": pa.array([], pa.int64())}))

    with pytest.raises(SourceUnreadable, match=r"files:a\.parquet has no rows"):
        rows_of("files:a.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 100])
def test_file_that_is_no_parquet_is_refused_in_one_sentence(content, text_file, rows_of):
    text_file("bad.parquet", content)

    with pytest.raises(SourceUnreadable, match=r"^bad\.parquet cannot be read") as refused:
        rows_of("files:bad.parquet")

    assert "\n" not in str(refused.value)
