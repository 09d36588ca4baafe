"""CSV files: types come from all rows of all files, and nothing is lost without a remark."""

import datetime as dt
import math

import pyarrow as pa
import pytest

from resources.datasets.sources import SourceUnreadable
from tests import buckets

NUMBERS = "".join(f"{i}.5,{i % 2}\n" for i in range(20))


def typed(rows):
    """Type by column."""
    return {field.name: str(field.type) for field in rows.table.schema}


def said(rows):
    """Subject, action, example and line of every remark."""
    return [(r.subject, r.action, r.example, r.line) for r in rows.remarks]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2"], "int64"),
        (["+1", " 2 ", "-3"], "int64"),
        (["1", "2.5"], "double"),
        (["1e5", "nan", "-inf"], "double"),
        (["true", "False"], "bool"),
        (["2024-02-29", "1999-12-31"], "date32[day]"),
        (["2024-03-31T00:30", "2024-03-31 00:30:00.25"], "timestamp[us]"),
        (["2024-03-31T00:30:00+02:00", "2024-03-31 00:30Z"], "timestamp[us, tz=UTC]"),
        (["wren", "1x"], "string"),
        (["2024-02-31", "2024-02-01"], "string"),
        (["0x1A", "1_000"], "string"),
    ],
)
def test_column_has_the_type_that_all_its_values_have(values, kind, rows_of, text_file):
    text_file("a.csv", "x,y\n" + "".join(f"{value},1\n" for value in values))

    rows = rows_of("files:a.csv")

    assert (typed(rows)["x"], rows.remarks) == (kind, ())


@pytest.mark.parametrize(
    ("first", "last", "kind"),
    [
        ("", "7", "int64"),
        ("1", "2.5", "double"),
        ("1", "nan", "double"),
        ("2024-01-01", "x", "string"),
    ],
)
def test_type_comes_from_the_last_row_as_much_as_from_the_first(
    first, last, kind, rows_of, text_file
):
    text_file("a.csv", "x,y\n" + f"{first},0\n" * 40_000 + f"{last},1\n")

    rows = rows_of("files:a.csv")

    assert typed(rows)["x"] == kind
    assert rows.table.num_rows == 40_001


def test_integers_and_decimals_of_two_files_are_one_column(rows_of, text_file):
    text_file("data/a.csv", "x,y\n1,a\n")
    text_file("data/b.csv", "y,x\nb,2.5\n")

    rows = rows_of("files:data")

    assert rows.table.to_pylist() == [{"x": 1.0, "y": "a"}, {"x": 2.5, "y": "b"}]
    assert rows.remarks == ()


def test_column_that_one_file_lacks_is_null_there_and_remarked_on(rows_of, text_file):
    text_file("data/a.csv", "x,y\n1,a\n")
    text_file("data/b.csv", "x\n2\n3\n")

    rows = rows_of("files:data")

    assert rows.table.column("y").to_pylist() == ["a", None, None]
    (remark,) = rows.remarks
    assert (remark.subject, remark.count, remark.file) == ("y", 2, "b.csv")
    assert "a.csv" in remark.reason


def test_files_without_a_common_column_are_refused(rows_of, text_file):
    text_file("data/a.csv", "x,y\n1,2\n")
    text_file("data/b.csv", "u,v\n1,2\n")

    with pytest.raises(SourceUnreadable, match=r"b\.csv has no column of a\.csv: it has u, v"):
        rows_of("files:data")


def test_stray_text_among_numbers_names_value_line_and_declaration(rows_of, text_file):
    text_file("a.csv", 'note,x\n"one\ntwo",1\n,2\n,n/a?\n,4\n')

    rows = rows_of("files:a.csv")

    assert typed(rows)["x"] == "string"
    assert said(rows) == [("x", "left_out", "n/a?", 5)]
    assert "3 of 4 values are numbers" in rows.remarks[0].reason
    assert "read: {nulls: ['n/a?']}" in rows.remarks[0].reason


def test_stray_text_of_a_later_file_is_named_with_its_own_line(rows_of, text_file):
    text_file("data/a.csv", "x,y\n1,0\n2,0\n3,0\n")
    text_file("data/b.csv", "x;y\n4;0\n?;0\n")

    rows = rows_of("files:data")

    assert [(r.file, r.line, r.example) for r in rows.remarks] == [("b.csv", 3, "?")]


def test_stray_text_is_a_null_when_it_is_declared(rows_of, text_file):
    text_file("a.csv", "x,y\n1,-999\n?,2\n3,-\n")

    rows = rows_of("files:a.csv", read={"nulls": ["?", "-", -999]})

    assert rows.table.to_pylist() == [{"x": 1, "y": None}, {"x": None, "y": 2}, {"x": 3, "y": None}]
    assert rows.remarks == ()


def test_usual_words_for_nothing_among_numbers_become_null_with_a_remark(rows_of, text_file):
    text_file("a.csv", "x,country\n1,NA\nN/A,EU\nnull,US\n")

    rows = rows_of("files:a.csv")

    assert rows.table.column("x").to_pylist() == [1, None, None]
    assert rows.table.column("country").to_pylist() == ["NA", "EU", "US"]
    assert said(rows) == [("x", "converted", "N/A", 3)]


@pytest.mark.parametrize(
    ("words", "truth"),
    [
        (["yes", "NO", "Yes"], [True, False, True]),
        (["y", "n", "n"], [True, False, False]),
        (["t", "f", "true"], [True, False, True]),
    ],
)
def test_yes_and_no_become_booleans_with_a_remark(words, truth, rows_of, text_file):
    text_file("a.csv", "x,k\n" + "".join(f"{word},0\n" for word in words))

    rows = rows_of("files:a.csv", label="k")

    assert rows.table.column("x").to_pylist() == truth
    assert said(rows) == [("x", "converted", words[0], 2)]


def test_words_of_a_label_stay_its_classes(rows_of, text_file):
    text_file("a.csv", "x,k\n1,yes\n2,no\n")

    rows = rows_of("files:a.csv", label="k")

    assert rows.table.column("k").to_pylist() == ["yes", "no"]
    assert rows.remarks == ()


def test_single_letter_in_every_row_is_no_boolean(rows_of, text_file):
    text_file("a.csv", "sex,x\nf,1\nf,2\n")

    assert rows_of("files:a.csv").table.column("sex").to_pylist() == ["f", "f"]


def test_number_label_with_a_stray_text_is_remarked_on(rows_of, text_file):
    text_file("a.csv", "x,price\n1,2.5\n2,3.5\n3,unknown\n")

    rows = rows_of("files:a.csv", label="price")

    assert said(rows) == [("price", "converted", "unknown", 4)]
    assert "a text label" in rows.remarks[0].reason


def test_leading_zeros_are_kept_and_remarked_on(rows_of, text_file):
    text_file("a.csv", "zip,x\n01234,1\n98765,2\n")

    rows = rows_of("files:a.csv")

    assert rows.table.column("zip").to_pylist() == ["01234", "98765"]
    assert said(rows) == [("zip", "left_out", "01234", 2)]


def test_whole_numbers_beyond_64_bits_are_remarked_on(rows_of, text_file):
    text_file("a.csv", "id,x\n1,1\n9223372036854775808,2\n")

    rows = rows_of("files:a.csv")

    assert typed(rows)["id"] == "double"
    assert rows.remarks[0].action == "converted"
    assert "types: {'id': text}" in rows.remarks[0].reason


@pytest.mark.parametrize(
    ("text", "declared", "values"),
    [
        ("x;y\n0,5;a\n-1,25;b\n", {}, [0.5, -1.25]),
        ("x;y\n1.234,5;a\n7;b\n", {}, [1234.5, 7.0]),
        ("x;y\n1.234,5;a\n7;b\n", {"decimal": ","}, [1234.5, 7.0]),
        ('x,y\n"1,234.5",a\n7,b\n', {"thousands": ","}, [1234.5, 7.0]),
        ("x;y\n1'234.5;a\n7;b\n", {"thousands": "'"}, [1234.5, 7.0]),
        ("x\ty\n1,5\ta\n7\tb\n", {"decimal": ","}, [1.5, 7.0]),
    ],
)
def test_decimal_commas_and_thousands_are_numbers(text, declared, values, rows_of, text_file):
    text_file("a.csv", text)

    rows = rows_of("files:a.csv", read=declared)

    assert rows.table.column("x").to_pylist() == values
    assert len(rows.remarks) == (not declared)


def test_number_like_text_is_remarked_on(rows_of, text_file):
    text_file("a.csv", 'x,y,z\n"1,5",12%,$3\n"2,5",7%,$4\n')

    rows = rows_of("files:a.csv")

    assert [(r.subject, r.action) for r in rows.remarks] == [
        ("x", "left_out"),
        ("y", "left_out"),
        ("z", "left_out"),
    ]


@pytest.mark.parametrize(
    ("content", "declared"),
    [
        ("place,x\nKöln,1\n".encode(), {}),
        ("place,x\nKöln,1\n".encode("utf-8-sig"), {}),
        ("place,x\nKöln,1\n".encode("utf-16"), {}),
        ("place,x\nKöln,1\n".encode("utf-32"), {}),
        ("place,x\nKöln,1\n".encode("latin-1"), {"encoding": "latin-1"}),
        ("place,x\nKöln,1\n".encode("cp850"), {"encoding": "cp850"}),
        ("place,x\nKöln,1\n".encode("utf-16-le"), {"encoding": "utf-16-le"}),
        ("place;x\r\nKöln;1\r\n".encode(), {}),
        ("place\tx\rKöln\t1\r".encode(), {}),
        ("place|x\n\nKöln|1\n\n".encode(), {}),
        ("# made by hand\nplace,x\nKöln,1\n".encode(), {"skip": 1}),
        ("'place','x'\n'Köln','1'\n".encode(), {"quote": "'"}),
        ("Köln,1\n".encode(), {"header": False, "names": ["place", "x"]}),
        ("A,a\nKöln,1\n".encode(), {"names": ["place", "x"]}),
    ],
)
def test_text_is_read_in_its_encoding_and_dialect(content, declared, rows_of, text_file):
    text_file("a.csv", content)

    rows = rows_of("files:a.csv", read=declared)

    assert rows.table.to_pylist() == [{"place": "Köln", "x": 1}]
    assert rows.remarks == ()


def test_text_that_is_no_utf_8_is_read_as_that_of_a_spreadsheet_with_a_remark(rows_of, text_file):
    text_file("a.csv", "place,x\nKöln,1\nZürich,2\n".encode("cp1252"))

    rows = rows_of("files:a.csv")

    assert rows.table.column("place").to_pylist() == ["Köln", "Zürich"]
    (remark,) = rows.remarks
    assert (remark.subject, remark.action) == ("a.csv", "converted")
    assert "read: {encoding: ...}" in remark.reason


@pytest.mark.parametrize(
    "text",
    [
        "size, cm;weight, kg;kind\n1,5;2,5;a\n2,5;3,25;b\n",
        "size, cm;weight, kg\n1,5;2,5\n2,5;3,25\n",
        "size, cm\tweight, kg\n1,5\t2,5\n2,5\t3,25\n",
    ],
)
def test_commas_in_names_and_numbers_do_not_hide_the_delimiter(text, rows_of, text_file):
    text_file("a.csv", text)

    rows = rows_of("files:a.csv")

    assert rows.table.column_names[:2] == ["size, cm", "weight, kg"]
    assert rows.table.column("size, cm").to_pylist() == [1.5, 2.5]


def test_delimiter_of_long_quoted_texts_is_found(rows_of, text_file):
    cell = '"one;\ntwo;\nthree|"'
    text_file("a.csv", "x,note,k\n" + f"1,{cell},a\n" * 2_000)

    assert rows_of("files:a.csv").table.shape == (2_000, 3)


def test_row_that_begins_with_a_hash_is_a_row(rows_of, text_file):
    text_file("a.csv", "a,b\n#1,2\n#3,4\n")

    assert rows_of("files:a.csv").table.column("a").to_pylist() == ["#1", "#3"]


def test_quotes_keep_delimiters_line_ends_and_quotes(rows_of, text_file):
    text_file("a.csv", 'a,b\n"x, ""y""\nz",1\n')

    assert rows_of("files:a.csv").table.to_pylist() == [{"a": 'x, "y"\nz', "b": 1}]


@pytest.mark.parametrize("source", ["files:a.csv", "sql:SELECT * FROM 'a.csv'"])
def test_empty_cell_is_null_for_every_reader(source, rows_of, text_file):
    text_file("a.csv", 'name,x\n,1\n"",2\nwren,3\n')

    names = rows_of(source).table.sort_by("x").column("name").to_pylist()

    assert names == [None, None, "wren"]


def test_column_without_a_value_is_text_and_no_feature(rows_of, text_file):
    text_file("a.csv", "x,note\n1,\n2, \n")

    rows = rows_of("files:a.csv")

    assert rows.table.column("note").to_pylist() == [None, None]
    assert said(rows) == [("note", "left_out", None, None)]


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_row_numbers_that_pandas_writes_are_left_out(name, rows_of, text_file):
    text_file("a.csv", f"{name},x\n0,5\n1,6\n2,7\n")

    rows = rows_of("files:a.csv")

    assert rows.table.column_names == ["x"]
    assert rows.remarks[0].action == "left_out"


def test_delimiter_at_the_end_of_each_line_makes_no_column(rows_of, text_file):
    text_file("a.csv", "x,y,\n1,2,\n3,4,\n")

    rows = rows_of("files:a.csv")

    assert rows.table.column_names == ["x", "y"]
    assert len(rows.remarks) == 1


@pytest.mark.parametrize(
    ("text", "declared", "message"),
    [
        ("a,b\n1,2\n3\n", {}, "line 3 has 1 columns, expected 2 columns"),
        ("a,b\n1,2\n3,4,5\n", {}, "line 3 has 3 columns, expected 2 columns"),
        ("Report\n\na,b\n1,2\n3,4\n", {}, "line 3 has 2 columns, expected 1 columns"),
        ('a,b\n"x,1\ny,2\n', {}, "line 2 has a quote that does not end"),
        ("", {}, "it is empty"),
        ("\n\n", {}, "it is empty"),
        ("1,2\n3,4\n", {}, r"line 1 holds numbers \(1, 2\), expected the names of the columns"),
        ("a,b,a\n1,2,3\n", {}, "columns 1 and 3 are both named 'a'"),
        ("size,Size\n1,2\n", {}, "columns 'size' and 'Size' differ only in upper and lower case"),
        ("a,\n1,x\n2,y\n", {}, "column 2 has no name and holds values such as 'x'"),
        ("a,b\n1,2\n", {"names": ["a"]}, "line 1 has 2 columns, expected 1 as declared"),
        (b"a,b\n\xff\xfe1,2\n\xc3\xa4\xc3\xb6\xc3\xbc,3\n", {}, "line 2 holds the byte 0xff"),
        (b"a,b\n1,2\n\x81,3\n", {}, "line 3 holds the byte 0x81, which windows-1252 does not"),
        (b"a,b\n\xe4,2\n", {"encoding": "utf-8"}, "line 2 holds the byte 0xe4, which utf-8 does"),
        ("a,b\n1,2\n".encode("utf-16-le"), {}, "UTF-16 without a byte order mark"),
        ("a,b\n1,x\n3,4\n", {"types": {"b": "number"}}, "line 2: column 'b' has 'x', expected a"),
    ],
)
def test_unreadable_file_is_refused_in_one_sentence(text, declared, message, rows_of, text_file):
    text_file("bad.csv", text)

    with pytest.raises(SourceUnreadable, match=rf"^bad\.csv.*{message}") as refused:
        rows_of("files:bad.csv", read=declared)

    assert "\n" not in str(refused.value)


def test_bucket_gives_types_of_all_rows_of_all_its_files(rows_of, monkeypatch):
    root = buckets.make_bucket(monkeypatch)
    buckets.put("birds/a.csv", b"x,y\n1,a\n")
    buckets.put("birds/b.csv", "x,y\n2.5,Köln\n".encode("cp1252"))

    rows = rows_of(f"files:{root}/birds")

    assert rows.table.to_pylist() == [{"x": 1.0, "y": "a"}, {"x": 2.5, "y": "Köln"}]
    assert [remark.subject for remark in rows.remarks] == ["b.csv"]


def test_files_of_other_kinds_in_the_folder_are_counted(rows_of, text_file):
    text_file("data/a.csv", "x\n1\n")
    text_file("data/notes.txt", "")
    text_file("data/b.xlsx", "")
    text_file("data/.hidden.txt", "")

    (remark,) = rows_of("files:data").remarks

    assert (remark.subject, remark.action, remark.count) == ("data", "left_out", 2)
    assert ".txt, .xlsx" in remark.reason


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_folders_of_partitions_are_columns(suffix, rows_of, text_file):
    text = {"csv": "x\n1\n", "jsonl": '{"x": 1}\n'}[suffix]
    text_file(f"data/year=2023/place=K%C3%B6ln/a.{suffix}", text)
    text_file(f"data/year=2024/place=__HIVE_DEFAULT_PARTITION__/a.{suffix}", text)

    rows = rows_of("files:data")

    assert rows.table.to_pylist() == [
        {"x": 1, "year": 2023, "place": "Köln"},
        {"x": 1, "year": 2024, "place": None},
    ]


def test_files_under_other_partitions_are_refused(rows_of, text_file):
    text_file("data/year=2023/a.csv", "x\n1\n")
    text_file("data/b.csv", "x\n1\n")

    with pytest.raises(SourceUnreadable, match="expected the same key=value folders"):
        rows_of("files:data")


def test_times_of_day_are_seconds(rows_of, text_file):
    text_file("a.csv", "at,x\n00:01,1\n01:00:00.5,2\n")

    rows = rows_of("files:a.csv")

    assert rows.table.column("at").to_pylist() == [60.0, 3600.5]
    assert rows.remarks[0].action == "converted"


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        ("number", "+1.5e3", 1500.0),
        ("integer", "007", 7),
        ("text", "007", "007"),
        ("boolean", "Y", True),
        ("date", "2024-02-29", dt.date(2024, 2, 29)),
        ("time", "00:01:00", 60.0),
        ("timestamp", "2024-02-29", dt.datetime(2024, 2, 29)),
        (
            "timestamp",
            "2024-02-29T01:00+01:00",
            dt.datetime(2024, 2, 29, tzinfo=dt.UTC),
        ),
    ],
)
def test_declared_type_is_taken(kind, word, value, rows_of, text_file):
    text_file("a.csv", f"x,y\n{word},1\n,2\n")

    rows = rows_of("files:a.csv", read={"types": {"x": kind}})

    assert rows.table.column("x").to_pylist() == [value, None]
    assert rows.remarks == ()


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("number", "1,5"),
        ("integer", "1.5"),
        ("integer", "9223372036854775808"),
        ("boolean", "maybe"),
        ("date", "2024-02-31"),
        ("date", "31.12.2024"),
        ("time", "25:00"),
        ("timestamp", "noon"),
    ],
)
def test_value_that_is_not_of_the_declared_type_is_named(kind, word, rows_of, text_file):
    text_file("a.csv", f'x,y\n,1\n"{word}",2\n')

    with pytest.raises(
        SourceUnreadable, match=rf"a\.csv line 3: column 'x' has '{word}', expected"
    ):
        rows_of("files:a.csv", read={"types": {"x": kind}})


def test_wide_file_is_typed_column_by_column(rows_of, text_file):
    names = [f"f{i}" for i in range(1_500)]
    text_file("a.csv", ",".join(names) + "\n" + ",".join(map(str, range(1_500))) + "\n")

    rows = rows_of("files:a.csv")

    assert rows.table.schema.types == [pa.int64()] * 1_500


def test_nan_is_a_number_that_is_none(rows_of, text_file):
    text_file("a.csv", "x\nNaN\n1\n")

    assert math.isnan(rows_of("files:a.csv").table.column("x")[0].as_py())
