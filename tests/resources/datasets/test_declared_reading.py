"""What the declaration says of reading, for the rows of any source."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.datasets.remarks import merged
from resources.datasets.sources import SourceUnreadable

ROWS = {
    "wing": [1, -999, 3],
    "weight": [0.5, 1.5, -999.0],
    "name": ["wren", "?", "tit"],
    "code": ["007", "8", "9"],
    "sung": [0, 1, 1],
}


@pytest.fixture
def read(tmp_path, rows_of):
    """Reads the rows from Parquet as the declaration says."""
    pq.write_table(pa.table(ROWS), tmp_path / "a.parquet")
    return lambda read, **more: rows_of("files:a.parquet", read=read, **more)


def test_words_and_numbers_for_nothing_are_null_in_text_and_numbers(read):
    table = read({"nulls": ["?", -999]}).table

    assert table.column("wing").to_pylist() == [1, None, 3]
    assert table.column("weight").to_pylist() == [0.5, 1.5, None]
    assert table.column("name").to_pylist() == ["wren", None, "tit"]


@pytest.mark.parametrize(
    ("types", "column", "values"),
    [
        ({"code": "integer"}, "code", [7, 8, 9]),
        ({"wing": "text"}, "wing", ["1", "-999", "3"]),
        ({"wing": "number"}, "wing", [1.0, -999.0, 3.0]),
        ({"sung": "boolean"}, "sung", [False, True, True]),
        ({"w*": "text", "wing": "number"}, "wing", [1.0, -999.0, 3.0]),
    ],
)
def test_declared_type_is_taken(types, column, values, read):
    rows = read({"types": types})

    assert rows.table.column(column).to_pylist() == values
    assert not [remark for remark in rows.remarks if remark.subject == column]


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ({"weight": "integer"}, r"column 'weight' is of type double, expected a whole number"),
        ({"wing": "boolean"}, r"column 'wing' is of type int64, expected true or false"),
        ({"name": "number"}, r"column 'name' has 'wren', expected a number"),
    ],
)
def test_values_of_another_type_are_refused_with_the_column(types, message, read):
    with pytest.raises(SourceUnreadable, match=message):
        read({"types": types})


def test_kept_columns_stay_and_so_does_the_label(read):
    assert read({"keep": ["w*"]}, label="name").table.column_names == ["wing", "weight", "name"]


def test_dropped_columns_go_without_a_remark(read):
    rows = read({"drop": ["code", "w*"]})

    assert rows.table.column_names == ["name", "sung"]
    assert rows.remarks == ()


@pytest.mark.parametrize("key", ["keep", "drop", "types"])
def test_unknown_column_is_refused_with_the_nearest(key, read):
    value = {"weigth": "number"} if key == "types" else ["weigth"]

    with pytest.raises(
        SourceUnreadable, match=rf"'weigth', which read: {key} names; did you mean 'weight'"
    ):
        read({key: value})


@pytest.mark.parametrize(
    "words",
    [
        {"drop": ["tags", "took", "big", "empty"]},
        {"keep": ["x"]},
        {"types": {"took": "number", "big": "text"}, "drop": ["tags", "empty"]},
    ],
)
def test_nothing_is_remarked_on_what_is_declared_or_not_wanted(words, tmp_path, rows_of):
    table = {
        "x": [1, 2],
        "tags": [["a"], []],
        "took": pa.array([1, 2], pa.duration("s")),
        "big": pa.array([2**64 - 1, 1], pa.uint64()),
        "empty": pa.nulls(2),
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")

    rows = rows_of("files:a.parquet", read=words)

    assert rows.remarks == ()
    if "types" in words:
        assert rows.table.column("big").to_pylist() == ["18446744073709551615", "1"]
        assert rows.table.column("took").to_pylist() == [1.0, 2.0]


def test_declared_text_of_a_query_keeps_every_digit(rows_of):
    rows = rows_of("sql:SELECT 18446744073709551615::UBIGINT AS id", read={"types": {"id": "text"}})

    assert rows.table.to_pylist() == [{"id": "18446744073709551615"}]


def test_nothing_left_is_refused(read):
    with pytest.raises(SourceUnreadable, match="no usable column"):
        read({"drop": ["*"]})


def test_watched_rows_widen_the_types_of_the_source(tmp_path, rows_of, text_file):
    pq.write_table(pa.table({"x": [1, 2], "kind": ["a", "b"]}), tmp_path / "a.parquet")
    text_file("incoming/new.csv", "kind,x,extra\nc,2.5,1\n")

    rows = rows_of("files:a.parquet", watch="incoming")

    assert rows.table.to_pylist()[2] == {"x": 2.5, "kind": "c"}
    assert [(r.subject, r.action) for r in rows.remarks] == [("extra", "left_out")]


def test_watched_text_among_numbers_is_refused_with_column_and_place(tmp_path, rows_of, text_file):
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "a.parquet")
    text_file("incoming/new.csv", "x\nmany\n")

    with pytest.raises(
        SourceUnreadable, match="watched incoming: column 'x' is of type string, and of type int64"
    ):
        rows_of("files:a.parquet", watch="incoming")


def test_query_says_what_it_gives_as_text(rows_of, text_file):
    text_file("a.csv", "x,note\n" + "1,\n" * 30_000 + "2,7\n")

    rows = rows_of("sql:SELECT * FROM 'a.csv'")

    assert [(r.subject, r.action, r.example) for r in rows.remarks] == [("note", "left_out", "7")]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM 's3://birds/a.parquet'", "sql: reads files of this machine only"),
        ("SELECT 1 AS a, 2 AS A", "columns 'a' and 'A' differ only in upper and lower case|once"),
        ("CREATE TABLE t (a INTEGER)", "has no rows; expected at least one"),
    ],
)
def test_query_that_gives_no_rows_is_refused_in_one_sentence(query, message, rows_of):
    with pytest.raises(SourceUnreadable, match=message) as refused:
        rows_of(f"sql:{query}")

    assert "\n" not in str(refused.value)


def test_query_takes_structures_apart_and_keeps_the_order_of_values(rows_of):
    rows = rows_of("sql:SELECT {'x': i} AS box, INTERVAL 1 SECOND AS took FROM range(3) t(i)")

    assert rows.table.column("box.x").to_pylist() == [0, 1, 2]
    assert {remark.subject for remark in rows.remarks} == {"box", "took"}


def test_request_log_of_a_table_has_its_columns_by_name(rows_of, text_file):
    text_file(
        "requests/birds.singer-api/1.jsonl",
        '{"columns": ["wing", "song"]}\n'
        '{"at": 1.0, "model_version": 1, "prediction": "wren", "inputs": [2, "trill"]}\n'
        '{"at": 2.0, "model_version": 1, "prediction": "wren", "inputs": [null, null]}\n',
    )

    rows = rows_of("requests:singer-api")

    assert rows.table.column("wing").to_pylist() == [2.0, None]
    assert rows.table.column("song").to_pylist() == ["trill", None]


def test_request_log_tells_of_rows_that_were_answered_and_not_logged(rows_of, text_file):
    text_file(
        "requests/birds.singer-api/1.jsonl",
        '{"columns": ["a"]}\n{"at": 1, "inputs": [1]}\n'
        '{"at": 2, "lost": {"pending": 7, "failed": 2}}\n{"at": 3, "lost": {"pending": 1}}\n',
    )

    result = rows_of("requests:singer-api")

    assert result.table.column("a").to_pylist() == [1]
    told = {remark.reason.partition(":")[0]: remark for remark in merged(result.remarks)}
    assert [(r.subject, r.action, r.count) for r in told.values()] == [
        ("inputs", "left_out", 8),
        ("inputs", "left_out", 2),
    ]
    pending, failed = told
    assert "not logged, because more came than could be written" in pending
    assert "not logged, because the disk refused them" in failed


def test_request_log_leaves_out_what_is_no_row_and_says_so(rows_of, text_file):
    text_file(
        "requests/birds.singer-api/1.jsonl",
        '{"at": 1.0, "model_version": 1, "prediction": "wren", "inputs": [0.5, 1]}\n'
        '{"at": 2.0, "model_version": 1, "prediction": "wren", "inputs": {"many": 1}}\n'
        '{"at": 3.0, "model_version": 2, "prediction": 4, "inputs": [0.25, 2]}\n'
        '{"at": 4.0, "inp',
    )

    rows = rows_of("requests:singer-api")

    assert rows.table.column("input_0").to_pylist() == [0.5, 0.25]
    assert rows.table.column("prediction").to_pylist() == ["wren", "4"]
    assert [(r.subject, r.count, r.line) for r in rows.remarks] == [
        ("inputs", 2, 2),
        ("prediction", 2, None),
    ]
    assert rows.bookkeeping == {"at", "model_version", "request_id"}
