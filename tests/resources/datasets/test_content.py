"""The hash of rows does not depend on the portions in which they come."""

import hashlib
import io

import numpy as np
import pyarrow as pa
import pytest

from resources.datasets.content import ContentHash, content_hash, text_columns, text_heads

ROWS = 200_000


def of_the_whole(table):
    """The hash as the IPC stream of the table in memory gives it."""
    rows = table.take(pa.array(np.arange(table.num_rows))).combine_chunks()
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=65_536)
    return hashlib.sha256(stream.getvalue()).hexdigest()


@pytest.fixture(scope="module")
def rows():
    row = np.arange(ROWS)
    return pa.table(
        {
            "wing": row * 0.25,
            "eggs": pa.array(row, mask=row % 7 == 0),
            "seen": row % 5 == 0,
            "note": [None if k % 11 == 0 else f"n{k % 97}" for k in range(ROWS)],
            "sparse": ["é" if k in (3, 70_000) else None for k in range(ROWS)],
            "none": pa.nulls(ROWS, pa.string()),
            "late": ["abc" * 7 if k > 131_077 else "" for k in range(ROWS)],
        }
    )


@pytest.mark.parametrize("count", [ROWS, 131_172, 65_537, 65_536, 65_535, 1, 0])
def test_hash_is_that_of_the_stream_of_the_whole_table(count, rows):
    assert content_hash(rows.slice(0, count)) == of_the_whole(rows.slice(0, count))


@pytest.mark.parametrize("size", [1_000, 65_536, 100_003])
def test_portions_do_not_change_the_hash(size, rows):
    portions = [rows.slice(start, size) for start in range(0, ROWS, size)]
    texts = text_columns(rows.schema)

    content = ContentHash(rows.schema, text_heads(part.select(texts) for part in portions))
    for part in portions:
        content.add(part)

    assert content.hexdigest() == of_the_whole(rows)
