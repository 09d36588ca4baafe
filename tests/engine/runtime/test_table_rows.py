"""Rows of any columns reach the model as they were sent, or are refused with their place."""

import json

import numpy as np
import pytest

from engine.runtime.bad_request import BadRequest
from engine.runtime.request import RequestReader
from engine.runtime.signature import current

SIGNATURE = {
    "inputs": [
        {
            "name": "numbers",
            "dtype": "float32",
            "shape": [4],
            "columns": ["size", "count", "wild", "seen"],
        },
        {"name": "kind", "dtype": "string", "shape": [1], "columns": ["kind"]},
        {"name": "note", "dtype": "string", "shape": [], "columns": ["note"]},
    ],
    "outputs": [{"name": "scores", "dtype": "float32", "shape": [2]}],
    "columns": [
        {"name": "size", "kind": "number", "nullable": True, "low": 0, "high": 10},
        {"name": "count", "kind": "integer"},
        {"name": "wild", "kind": "boolean"},
        {"name": "seen", "kind": "date", "nullable": True},
        {"name": "kind", "kind": "category", "nullable": True, "categories": ["owl", "wren"]},
        {"name": "note", "kind": "text"},
    ],
}
ROW = {"size": 2.5, "count": 3, "wild": True, "seen": "1970-01-02", "kind": "wren", "note": "Ä"}


def read(**changes):
    body = {"rows": [{**ROW, **changes}]}
    return RequestReader(SIGNATURE, 5).read(json.dumps(body).encode())


def test_values_fill_the_inputs_of_their_columns():
    tensors = read().tensors

    assert tensors["numbers"].tolist() == [[2.5, 3.0, 1.0, 1.0]]
    assert tensors["numbers"].dtype == np.float32
    assert tensors["kind"].tolist() == [["wren"]]
    assert tensors["note"].tolist() == ["Ä"]


def test_a_missing_number_is_nan_and_a_missing_text_is_empty():
    tensors = read(size=None, kind=None).tensors

    assert np.isnan(tensors["numbers"][0, 0])
    assert tensors["kind"].tolist() == [[""]]


def test_columns_that_may_be_null_may_be_left_out():
    row = {name: value for name, value in ROW.items() if name not in ("seen", "kind")}

    tensors = RequestReader(SIGNATURE, 5).read(json.dumps({"rows": [row]}).encode()).tensors

    assert np.isnan(tensors["numbers"][0, 3])


def test_rows_by_position_mean_what_rows_by_name_mean():
    body = json.dumps({"inputs": [list(ROW.values())]}).encode()

    by_position = RequestReader(SIGNATURE, 5).read(body)

    for name, tensor in read().tensors.items():
        assert by_position.tensors[name].tolist() == tensor.tolist()
    assert by_position.rows == read().rows


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"size": "2"}, "rows.0.size", "got the text '2', expected a finite number"),
        ({"size": 11}, "rows.0.size", "at least 0 and at most 10"),
        ({"size": 10**400}, "rows.0.size", "expected a finite number that float64 can hold"),
        ({"size": True}, "rows.0.size", "got true"),
        ({"count": 1.5}, "rows.0.count", "expected a whole number"),
        ({"count": None}, "rows.0.count", "got null"),
        ({"wild": "yes"}, "rows.0.wild", "expected true or false"),
        ({"wild": 2}, "rows.0.wild", "expected true or false"),
        ({"seen": "yesterday"}, "rows.0.seen", "ISO 8601"),
        ({"seen": 5}, "rows.0.seen", "ISO 8601"),
        ({"kind": "wern"}, "rows.0.kind", "one of 'owl', 'wren'; did you mean 'wren'?"),
        ({"kind": 4}, "rows.0.kind", "expected a text"),
        ({"note": None}, "rows.0.note", "got null"),
        ({"note": ["a"]}, "rows.0.note", "got a list of 1"),
        ({"nota": "a"}, "rows.0.nota", "did you mean 'note'?"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_place(changes, field, says):
    with pytest.raises(BadRequest, match=says.replace("?", "\\?")) as refusal:
        read(**changes)

    assert refusal.value.field == field


def test_a_column_that_is_needed_and_lacks_is_named():
    body = json.dumps({"rows": [{name: ROW[name] for name in ROW if name != "count"}]}).encode()

    with pytest.raises(BadRequest, match="lacks the column 'count'"):
        RequestReader(SIGNATURE, 5).read(body)


def test_a_row_of_another_length_is_named():
    with pytest.raises(BadRequest, match="row 1: got 2 values, expected a list of 6"):
        RequestReader(SIGNATURE, 5).read(
            json.dumps({"inputs": [list(ROW.values()), [1, 2]]}).encode()
        )


@pytest.mark.parametrize(("value", "says"), [(-0.5, "at least 0"), (17, "at most 16")])
def test_numbers_alone_are_held_to_their_declared_range_too(value, says):
    signature = {
        "inputs": [{"name": "x", "dtype": "float32", "shape": [2], "columns": ["a", "b"]}],
        "columns": [
            {"name": "a", "kind": "number"},
            {"name": "b", "kind": "number", "low": 0, "high": 16},
        ],
    }

    with pytest.raises(BadRequest, match=rf"row 1, column 1 \(b\): got .*, expected {says}"):
        RequestReader(signature, 5).read(json.dumps({"inputs": [[9e9, 3], [1, value]]}).encode())


def test_a_signature_of_the_earlier_form_is_read():
    earlier = {
        "input": {"name": "x", "dtype": "float32", "shape": [2]},
        "output": {"name": "y", "dtype": "float32", "shape": [3]},
        "task": "classification",
        "classes": ["a", "b", "c"],
        "features": ["wing", "beak"],
    }

    today = current(earlier)

    assert today["inputs"][0]["columns"] == ["wing", "beak"]
    assert today["outputs"] == [earlier["output"]]
    body = b'{"rows": [{"beak": 2, "wing": 1}]}'
    assert RequestReader(today, 5).read(body).tensors["x"].tolist() == [[1, 2]]
