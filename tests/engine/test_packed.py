"""A packed column is read as the columns that it stands for."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.packed import is_packed, matrix_of, packed, unpacked, unpacked_schema, width_of
from engine.rows import read_batches, read_first, read_matrix, read_rows, read_share

ROWS, COLUMNS = 100, 6
NAMES = [f"pixel_{i}" for i in range(COLUMNS)]


def values(kind=np.uint8, rows=ROWS):
    return np.arange(rows * COLUMNS).reshape(rows, COLUMNS).astype(kind)


def rows(kind=np.uint8):
    return pa.table({"file": [f"{i}.png" for i in range(ROWS)], "pixel": packed(values(kind))})


@pytest.fixture(params=[np.uint8, np.float32])
def kind(request):
    return request.param


@pytest.fixture
def files(tmp_path, kind):
    """Two files with the rows, in row groups of 30."""
    paths = [str(tmp_path / f"{name}.parquet") for name in "ab"]
    table = rows(kind)
    pq.write_table(table.slice(0, 70), paths[0], row_group_size=30)
    pq.write_table(table.slice(70), paths[1], row_group_size=30)
    return paths


def test_all_columns_are_read_by_their_own_names(files, kind):
    table = read_rows(files)

    assert table.column_names == ["file", *NAMES]
    assert table.schema.field("pixel_0").type == pa.float32()
    for i, name in enumerate(NAMES):
        assert table.column(name).to_pylist() == values(kind)[:, i].astype(float).tolist()


def test_columns_come_in_the_order_in_which_they_are_asked_for(files, kind):
    wanted = ["pixel_4", "file", "pixel_0"]

    table = read_rows(files, wanted)

    assert table.column_names == wanted
    assert table.column("pixel_4").to_pylist() == values(kind)[:, 4].astype(float).tolist()


def test_batches_and_shares_have_the_columns_too(files, kind):
    batches = list(read_batches(files, ["pixel_5", "file"], 16))
    shares = [list(read_share(files, ["pixel_5", "file"], 16, part, 3)) for part in range(3)]

    assert {tuple(batch.schema.names) for batch in batches} == {("pixel_5", "file")}
    whole = pa.Table.from_batches(batches).column(0).to_pylist()
    assert whole == values(kind)[:, 5].astype(float).tolist()
    assert [sum(map(len, share)) for share in shares] == [33] * 3
    together = [value for share in shares for b in share for value in b.column(0).to_pylist()]
    assert together == whole[:99]
    assert read_first(files, ["pixel_1"], 2).to_pydict() == {
        "pixel_1": values(kind)[:2, 1].astype(float).tolist()
    }


def test_batches_are_bounded_by_the_values_that_they_become(files, monkeypatch):
    monkeypatch.setattr("engine.rows.VALUES_AT_ONCE", 70)

    assert max(map(len, read_batches(files))) == 10


@pytest.mark.parametrize(
    "wanted", [NAMES, NAMES[::-1], NAMES[2:4], ["pixel"]], ids=["all", "turned", "some", "packed"]
)
def test_matrix_has_the_columns_that_are_asked_for(wanted, files, kind):
    if wanted == ["pixel"]:
        assert read_rows(files, wanted).schema.types[0].list_size == COLUMNS
        return
    matrix = read_matrix(files, wanted)

    assert matrix.dtype == np.float32
    places = [NAMES.index(name) for name in wanted]
    np.testing.assert_array_equal(matrix, values(kind)[:, places].astype(np.float32))


def test_matrix_of_other_columns_is_read_as_well(tmp_path):
    table = pa.table({"a": [1, 2], "b": [True, False], "c": [0.5, None]})
    pq.write_table(table, tmp_path / "a.parquet")

    matrix = read_matrix([str(tmp_path / "a.parquet")], ["c", "a", "b"])

    np.testing.assert_array_equal(matrix, [[0.5, 1, 1], [np.nan, 2, 0]])


def test_slices_and_chunks_are_unpacked(kind):
    table = rows(kind)
    parts = pa.concat_tables([table.slice(3, 10), table.slice(50, 5)])
    expected = values(kind)[[*range(3, 13), *range(50, 55)]]

    np.testing.assert_array_equal(matrix_of(parts.column("pixel")), expected)
    assert unpacked(parts).column("pixel_2").to_pylist() == expected[:, 2].astype(float).tolist()
    assert unpacked(parts.slice(0, 0)).num_rows == 0


def test_lists_of_others_are_no_packed_columns():
    kinds = [pa.list_(pa.uint8(), 4), pa.list_(pa.float32()), pa.float32()]

    assert not any(map(is_packed, kinds))
    assert width_of(rows().schema) == len(unpacked_schema(rows().schema)) == 1 + COLUMNS
