"""The columns of datasets: which of them are numbers, and the plain types they are kept in."""

import pyarrow as pa


def is_number(kind: pa.DataType) -> bool:
    """Whether values of the type can be features and lie in a range."""
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def plain(table: pa.Table) -> pa.Table:
    """The table with decimals as float64, and dictionaries as the values they stand for.

    DuckDB gives decimals for sums and literals, which no model takes.
    """
    kinds = pa.schema([pa.field(f.name, _plain_type(f.type), f.nullable) for f in table.schema])
    return table.cast(kinds.with_metadata(table.schema.metadata))


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_decimal(kind):
        return pa.float64()
    return kind.value_type if pa.types.is_dictionary(kind) else kind
