"""JSON files: every key of every row, in the type of all its values."""

import json
import math

import pytest

from resources.datasets.sources import SourceUnreadable

WRITERS = {
    "lines": ("a.jsonl", lambda rows: "".join(json.dumps(row) + "\n" for row in rows)),
    "no last newline": ("a.ndjson", lambda rows: "\n".join(json.dumps(row) for row in rows)),
    "list": ("a.json", json.dumps),
    "indented list": ("a.json", lambda rows: json.dumps(rows, indent=1)),
    "indented objects": ("a.json", lambda rows: "\n".join(json.dumps(r, indent=2) for r in rows)),
    "byte order mark": ("a.json", lambda rows: "\ufeff" + json.dumps(rows)),
}


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("layout", WRITERS)
def test_rows_are_read_in_every_layout(layout, rows_of, text_file):
    rows = [{"wing": 1.5, "name": 'w"ren\n'}, {"wing": 2, "name": "Kö"}]
    name, write = WRITERS[layout]
    text_file(name, write(rows))

    result = rows_of(f"files:{name}")

    assert result.table.to_pylist() == rows
    assert result.remarks == ()


def test_one_object_a_file_without_a_newline_is_a_row(rows_of, text_file):
    for i in range(30):
        text_file(f"data/{i:02d}.json", json.dumps({"wing": i, "name": "wren"}))

    result = rows_of("files:data")

    assert result.table.column("wing").to_pylist() == list(range(30))


def test_key_that_first_appears_late_is_a_column(rows_of, text_file):
    text_file("a.jsonl", '{"x": 1}\n' * 40_000 + '{"x": 2, "colour": "red"}\n')

    result = rows_of("files:a.jsonl")

    assert result.table.column_names == ["x", "colour"]
    assert result.table.column("colour")[-1].as_py() == "red"


def test_many_different_keys_are_columns(rows_of, text_file):
    text_file("a.jsonl", lines(*({f"k{i}": i} for i in range(500))))

    assert rows_of("files:a.jsonl").table.num_columns == 500


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, 2.5, None], "double", [1.0, 2.5, None]),
        ([1, None], "int64", [1, None]),
        ([True, False], "bool", [True, False]),
        (["a", None, "é"], "string", ["a", None, "é"]),
        ([1e300, 5], "double", [1e300, 5.0]),
    ],
)
def test_column_has_the_type_of_all_its_values(values, kind, expected, rows_of, text_file):
    text_file("a.jsonl", lines(*({"x": value, "y": 0} for value in values)))

    rows = rows_of("files:a.jsonl")

    assert str(rows.table.schema.field("x").type) == kind
    assert rows.table.column("x").to_pylist() == expected
    assert rows.remarks == ()


@pytest.mark.parametrize(
    ("values", "kind", "action", "example"),
    [
        ([1, 2, "n/a?"], "string", "left_out", "n/a?"),
        ([1, 2, "3"], "int64", "converted", "3"),
        ([1, 2, "NA"], "int64", "converted", "NA"),
        ([True, 2, 3], "string", "left_out", "true"),
        (["a", "b", 3], "string", "converted", "a"),
        (["1.5", "2"], "string", "left_out", "1.5"),
        ([{"a": 1}, 2], "string", "left_out", '{"a":1}'),
        ([18446744073709551616, 1], "double", "converted", "18446744073709551616"),
    ],
)
def test_values_of_several_types_are_remarked_on_with_their_line(
    values, kind, action, example, rows_of, text_file
):
    text_file("a.jsonl", lines(*({"x": value, "y": 0} for value in values)))

    rows = rows_of("files:a.jsonl")

    remark = rows.remarks[0]
    assert str(rows.table.schema.field("x").type) == kind
    assert (remark.subject, remark.action, remark.example) == ("x", action, example)
    assert remark.line == 1 + [str(v).lower() for v in values].index(
        example.lower().replace('"a":', "'a': ")
    )


def test_declared_words_and_types_overrule(rows_of, text_file):
    text_file(
        "a.jsonl", lines({"x": 1, "id": "007"}, {"x": "n/a?", "id": "8"}, {"x": -1, "id": "9"})
    )

    rows = rows_of("files:a.jsonl", read={"nulls": ["n/a?", -1], "types": {"id": "integer"}})

    assert rows.table.to_pylist() == [
        {"x": 1, "id": 7},
        {"x": None, "id": 8},
        {"x": None, "id": 9},
    ]
    assert rows.remarks == ()


def test_structures_and_even_lists_become_columns_and_others_are_left_out(rows_of, text_file):
    text_file(
        "a.jsonl",
        lines(
            {"box": {"x": 1, "y": {"z": "a"}}, "vector": [1, 2], "tags": ["u"]},
            {"box": {"x": 2}, "vector": [3, 4.5], "tags": []},
        ),
    )

    rows = rows_of("files:a.jsonl")

    assert rows.table.to_pylist() == [
        {"box.x": 1, "box.y.z": "a", "vector_0": 1.0, "vector_1": 2.0},
        {"box.x": 2, "box.y.z": None, "vector_0": 3.0, "vector_1": 4.5},
    ]
    result = {remark.subject: remark.action for remark in rows.remarks}
    assert result == {
        "box": "converted",
        "box.y": "converted",
        "vector": "converted",
        "tags": "left_out",
    }


def test_nan_is_a_number(rows_of, text_file):
    text_file("a.jsonl", '{"x": NaN}\n{"x": 1}\n')

    assert math.isnan(rows_of("files:a.jsonl").table.column("x")[0].as_py())


def test_text_that_is_no_utf_8_is_read_with_a_remark(rows_of, text_file):
    text_file("a.jsonl", '{"x": "Köln"}\n'.encode("cp1252"))

    rows = rows_of("files:a.jsonl")

    assert rows.table.column("x").to_pylist() == ["Köln"]
    assert len(rows.remarks) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"x": 1}\n{"x": 2\n{"x": 3}\n', "line 3"),
        ("1\n2\n", "JSON that is no object"),
        ("[[1], [2]]", "JSON that is no object"),
        ("[]", "JSON that is no object"),
        ("", "JSON that is no object"),
        ('{"x": 1}\n5\n', "JSON that is no object"),
        ('{"x": 1, "x": 2}\n', 'line 1: Object .* has duplicate key "x"'),
        ('{"x": 1, "X": 2}\n', "columns 'X' and 'x' differ only in upper and lower case"),
        ('{"rows": [{"x": 1}]}', "no usable column"),
    ],
)
def test_unreadable_file_is_refused_in_one_sentence(text, message, rows_of, text_file):
    text_file("data/a.jsonl", '{"y": 1, "x": 1, "rows": [[]]}\n')
    text_file("data/bad.jsonl", text)

    with pytest.raises(SourceUnreadable, match=rf"bad\.jsonl.*{message}") as refused:
        rows_of("files:data/bad.jsonl")

    assert "\n" not in str(refused.value)


def test_broken_file_among_others_is_named(rows_of, text_file):
    text_file("data/a.jsonl", '{"x": 1}\n')
    text_file("data/b.jsonl", "5\n")

    with pytest.raises(SourceUnreadable, match=r"^b\.jsonl cannot be read"):
        rows_of("files:data")


def test_key_with_a_number_behind_it_is_not_another_spelling(rows_of, text_file):
    text_file("a.jsonl", '{"x": 1, "x_1": 2}\n')

    assert rows_of("files:a.jsonl").table.column_names == ["x", "x_1"]
