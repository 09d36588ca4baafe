"""The hash of rows does not depend on how they come or lie in memory, and blocks end by what is in
them alone."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.datasets import blocks as cutting
from resources.datasets.blocks import blocks, digest_of_block, digest_of_version, rows_of_block

ROWS = 20_000
TRAIN = np.zeros(0, np.int8)


def table(rows=ROWS):
    row = np.arange(rows)
    return pa.table(
        {
            "wing": row * 0.25,
            "eggs": pa.array(row, mask=row % 7 == 0),
            "day": pa.array(row.astype("int32"), pa.date32()),
            "at": pa.array(row, pa.timestamp("us", "UTC"), mask=row % 5 == 0),
            "seen": pa.array(row % 5 == 0, mask=row % 3 == 0),
            "note": [None if k % 11 == 0 else f"n{k % 97}" for k in range(rows)],
            "sparse": ["é" if k in (3, 7_000) else None for k in range(rows)],
            "none": pa.nulls(rows, pa.string()),
            "empty": pa.nulls(rows),
            "pixel": pa.FixedSizeListArray.from_arrays(
                pa.array(np.arange(3 * rows) % 200, pa.uint8()), 3
            ),
            "tags": pa.array([None if k % 4 == 0 else [k] * (k % 3) for k in range(rows)]),
        }
    )


def digest(rows, number=0):
    return digest_of_block(rows, TRAIN, number)


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=6), begin=st.integers(0, 70))
def test_chunks_and_offsets_do_not_change_the_hash(cuts, begin):
    rows = table(140).slice(begin, 60)
    edges = [0, *sorted(cuts), 60]
    chunks = [rows.slice(a, b - a) for a, b in pairwise(edges)]

    whole = digest(rows.take(list(range(60))).combine_chunks())
    assert digest(pa.concat_tables(chunks)) == whole
    assert digest(pa.Table.from_pylist(rows.to_pylist(), rows.schema)) == whole


@pytest.mark.parametrize("column", table(1).column_names)
def test_every_column_counts(column):
    rows = table(40)
    if column in ("none", "empty"):
        changed = rows.rename_columns({column: "another"})
    else:
        values = rows.column(column).to_pylist()
        values[1], values[2] = values[2], values[1]
        if column == "sparse":
            values[5] = "e"
        if column == "seen":
            values[1] = None
        changed = rows.set_column(
            rows.column_names.index(column), column, pa.array(values, rows.column(column).type)
        )

    assert digest(changed) != digest(rows)


def hidden(value):
    """Columns whose null hides the value."""
    numbers = [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([1, value]).tobytes())]
    offsets = pa.py_buffer(np.array([0, 1, 1 + value], np.int32).tobytes())
    texts = [pa.py_buffer(b"\x01"), offsets, pa.py_buffer(b"x" * (1 + value))]
    return pa.table(
        {
            "a": pa.Array.from_buffers(pa.int64(), 2, numbers),
            "b": pa.Array.from_buffers(pa.string(), 2, texts),
        }
    )


def test_values_hidden_under_nulls_do_not_change_the_hash():
    assert digest(hidden(7)) == digest(hidden(9))


def test_texts_are_told_apart_by_where_they_end():
    assert digest(pa.table({"a": ["ab", "c"]})) != digest(pa.table({"a": ["a", "bc"]}))


def test_splits_and_place_of_a_block_are_part_of_its_hash():
    rows = table(3)
    digests = {
        digest_of_block(rows, np.array(codes, np.int8), number)
        for codes, number in (([0, 0, 1], 0), ([0, 1, 0], 0), ([0, 0, 1], 1))
    }

    assert len(digests) == 3


@pytest.mark.parametrize("size", [1, 1_000, 1_024, 7_001])
def test_portions_do_not_change_the_blocks(size, monkeypatch):
    monkeypatch.setattr(cutting, "BLOCK_BYTES", 1 << 17)
    rows = table(5_000 if size == 1 else ROWS)
    portions = [rows.slice(start, size) for start in range(0, len(rows), size)]

    of_portions, of_whole = list(blocks(portions)), list(blocks([rows]))

    assert [len(block) for block in of_portions] == [len(block) for block in of_whole]
    assert list(map(digest, of_portions)) == list(map(digest, of_whole))
    assert pa.concat_tables(of_portions).equals(rows)
    assert len(of_whole) > 3


@pytest.mark.parametrize(
    ("columns", "kind", "rows"),
    [
        (1, pa.float64(), 1 << 20),
        (20, pa.float64(), 1 << 18),
        (1_024, pa.float64(), 1 << 13),
        (1, pa.list_(pa.uint8(), 1_024), 1 << 16),
        (100_000, pa.float64(), 1 << 10),
    ],
)
def test_columns_decide_the_rows_of_a_block(columns, kind, rows):
    assert rows_of_block(pa.schema([(f"x{i}", kind) for i in range(columns)])) == rows


def test_long_texts_end_a_block_before():
    texts = pa.table({"text": ["x" * 60_000] * 4_000})

    sizes = [len(block) for block in blocks([texts])]

    assert sizes == [2_048, 1_952]


def test_version_of_no_rows_has_a_name():
    empty = table(0)

    assert list(blocks([empty])) == []
    assert digest_of_version(empty.schema, []) != digest_of_version(table(1).schema, ["00"])
