"""Many columns of float32, such as the pixels of images, as one column of lists: on disk, where
thousands of columns take longer to write and read than their values."""

from collections.abc import Collection

import numpy as np
import pyarrow as pa


def packed(name: str, values: np.ndarray) -> tuple[pa.Field, pa.Array]:
    """Column of lists for values of shape [rows, columns], float32 or uint8, which `unpacked` makes
    the columns `NAME_0`, `NAME_1`, ..."""
    flat = pa.array(values.ravel())
    lists = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.field(name, lists.type), lists


def unpacked(table: pa.Table) -> pa.Table:
    """The table with a column for each position in its lists."""
    if not any(pa.types.is_fixed_size_list(kind) for kind in table.schema.types):
        return table
    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        if not pa.types.is_fixed_size_list(field.type):
            columns[field.name] = column
            continue
        size = field.type.list_size
        flat = [chunk.flatten().to_numpy().reshape(-1, size) for chunk in column.chunks]
        values = flat[0] if len(flat) == 1 else np.concatenate([*flat, np.empty((0, size), "u1")])
        # Turned at once, so that every column lies in one piece.
        for i, row in enumerate(np.ascontiguousarray(values.T)):
            columns[f"{field.name}_{i}"] = pa.array(row.astype(np.float32, copy=False))
    return pa.table(columns)


def columns_for(schema: pa.Schema, wanted: Collection[str] | None) -> list[str]:
    """Names of the columns on disk that the wanted ones, or all, are made from."""
    if wanted is None:
        return schema.names
    return [
        field.name
        for field in schema
        if field.name in wanted
        or (
            pa.types.is_fixed_size_list(field.type)
            and any(name.startswith(f"{field.name}_") for name in wanted)
        )
    ]


def width_of(schema: pa.Schema) -> int:
    """How many columns the columns on disk become."""
    lists = [kind.list_size - 1 for kind in schema.types if pa.types.is_fixed_size_list(kind)]
    return len(schema) + sum(lists)
