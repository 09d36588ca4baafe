"""Many columns of numbers, such as the pixels of images, as one packed column of lists: a column
NAME of lists of N numbers stands for the columns NAME_0 to NAME_N-1, which are float32.

Thousands of columns take longer to write and read than their values.
"""

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa


def packed_type(kind: pa.DataType, count: int) -> pa.DataType:
    """Type of a packed column of so many numbers of the kind, uint8 or float32."""
    # Named as Parquet names the values of lists.
    return pa.list_(pa.field("element", kind, nullable=False), count)


def is_packed(kind: pa.DataType) -> bool:
    """Whether a column of the type is a packed one: its lists have all their values."""
    return (
        pa.types.is_fixed_size_list(kind)
        and not kind.value_field.nullable
        and (pa.types.is_uint8(kind.value_type) or pa.types.is_float32(kind.value_type))
    )


def packed(values: np.ndarray) -> pa.Array:
    """Packed column for values of shape [rows, columns], uint8 or float32."""
    flat = pa.array(values.ravel())
    return pa.FixedSizeListArray.from_arrays(flat, type=packed_type(flat.type, values.shape[1]))


def matrix_of(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """The values of a packed column [rows, columns], in its type; without a copy where it lies in
    one piece."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    size = column.type.list_size
    parts = [chunk.flatten().to_numpy().reshape(-1, size) for chunk in chunks]
    if len(parts) == 1:
        return parts[0]
    empty = np.empty((0, size), column.type.value_type.to_pandas_dtype())
    return np.concatenate([empty, *parts])


def names_of(field: pa.Field) -> list[str]:
    """Names of the columns that a column stands for: those of a packed one, or its own."""
    if not is_packed(field.type):
        return [field.name]
    return [f"{field.name}_{i}" for i in range(field.type.list_size)]


def unpacked_schema(schema: pa.Schema) -> pa.Schema:
    """The columns that those of the schema stand for."""
    if not any(map(is_packed, schema.types)):
        return schema
    return pa.schema(
        [
            pa.field(name, pa.float32()) if is_packed(field.type) else field
            for field in schema
            for name in names_of(field)
        ]
    )


def columns_for(schema: pa.Schema, wanted: Collection[str] | None) -> list[str]:
    """Names of the columns that stand for those that are wanted, or all."""
    if wanted is None:
        return schema.names
    known = set(wanted)
    return [field.name for field in schema if not known.isdisjoint([field.name, *names_of(field)])]


def unpacked(table: pa.Table, wanted: Sequence[str] | None = None) -> pa.Table:
    """The columns that are wanted in their order, or all that the table's stand for."""
    if not any(map(is_packed, table.schema.types)):
        return table if wanted is None else table.select(list(wanted))
    names = unpacked_schema(table.schema).names if wanted is None else list(wanted)
    asked, has = set(names), dict[str, pa.ChunkedArray | pa.Array]()
    for field, column in zip(table.schema, table.columns, strict=True):
        if field.name in asked:
            has[field.name] = column
            continue
        chosen = [(i, name) for i, name in enumerate(names_of(field)) if name in asked]
        if chosen:
            values = matrix_of(column)[:, [i for i, _ in chosen]].astype(np.float32)
            # Turned at once, so that every column lies in one piece.
            turned = np.ascontiguousarray(values.T)
            has |= {name: pa.array(row) for (_, name), row in zip(chosen, turned, strict=True)}
    return pa.table([has[name] for name in names], names)


def width_of(schema: pa.Schema) -> int:
    """How many columns those of the schema stand for."""
    return sum(kind.list_size if is_packed(kind) else 1 for kind in schema.types)
