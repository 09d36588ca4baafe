"""The columns of datasets: which of them are numbers, and the plain types they are kept in.

A version has columns of booleans, integers with sign, float32 and float64, text, dates, times in
microseconds, without a zone or in UTC, and packed numbers. Everything else becomes one of these or
is left out, with a remark where values are not the same afterwards.
"""

from collections.abc import Callable, Iterator
from itertools import groupby

import pyarrow as pa

from engine.packed import is_packed, unpacked_schema
from resources.datasets.arrow import pc
from resources.datasets.conversations import are_conversations, conversations
from resources.datasets.remarks import Remark

MOST_LIST_ITEMS = 4_096
"""Numbers of a list that become columns."""
EXACT_DIGITS = 15
"""Decimal digits that float64 always keeps."""
NamedColumn = tuple[str, pa.ChunkedArray]


class UnusableColumns(Exception):
    """The rows do not have the columns that the declaration names, or not of the needed types."""


def is_number(kind: pa.DataType) -> bool:
    """Whether values of the type can be features and lie in a range."""
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def plain(table: pa.Table) -> tuple[pa.Table, list[Remark]]:
    """The table in plain types, and remarks on what was left out or converted.

    Columns without any type stay so. Raises UnusableColumns when names are not distinct.
    """
    remarks: list[Remark] = []
    if all(map(_is_kept, table.columns)):
        require_distinct(unpacked_schema(table.schema).names)
        return table, []
    pairs = zip(table.column_names, table.columns, strict=True)
    columns = [column_of for name, column in pairs for column_of in _plain(name, column, remarks)]
    whole = _table_of(columns, table.num_rows)
    require_distinct(unpacked_schema(whole.schema).names)
    return whole, remarks


def _is_kept(column: pa.ChunkedArray) -> bool:
    return column.type in _KEPT or (is_packed(column.type) and not column.null_count)


def with_types(table: pa.Table, label: str | None) -> tuple[pa.Table, list[Remark]]:
    """The table with columns without any type as text, and a remark on each but the label."""
    columns, remarks = [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        is_empty = pa.types.is_null(column.type)
        columns.append((name, column.cast(pa.string()) if is_empty else column))
        if is_empty and name != label:
            reason = "no row has a value, so the column is no feature"
            remarks.append(
                Remark(subject=name, action="left_out", count=len(column), reason=reason)
            )
    return _table_of(columns, table.num_rows), remarks


def require_distinct(names: list[str]) -> None:
    """Raises UnusableColumns when two names are equal but for the case of their letters."""
    by_case = sorted(enumerate(names, 1), key=lambda pair: pair[1].casefold())
    for _, group in groupby(by_case, key=lambda pair: pair[1].casefold()):
        same = list(group)
        if len(same) > 1:
            (first, one), (second, other) = same[:2]
            what = (
                f"columns {first} and {second} are both named {one!r}"
                if one == other
                else f"columns {one!r} and {other!r} differ only in upper and lower case"
            )
            raise UnusableColumns(
                f"{what}; expected names that differ in any case: rename one at the source, or "
                "list names in order under read: {names: [...]} for CSV files, or name columns "
                "apart with AS in an sql: query"
            )


def _table_of(columns: list[NamedColumn], rows: int) -> pa.Table:
    if not columns:
        # A table that is made of no columns has no rows; this one keeps their number.
        return pa.table({"": pa.nulls(rows)}).select([])
    return pa.Table.from_arrays([column for _, column in columns], [name for name, _ in columns])


def _plain(name: str, column: pa.ChunkedArray, remarks: list[Remark]) -> Iterator[NamedColumn]:
    kind = column.type
    if _is_kept(column) or pa.types.is_null(kind):
        yield name, column
    elif pa.types.is_struct(kind):
        yield from _of_structure(name, column, remarks)
    elif (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        yield from _of_list(name, column, remarks)
    else:
        convert = next((convert for fits, convert in _CONVERSIONS if fits(kind)), None)
        if convert is None:
            remarks.append(_left_out(name, column, f"values of type {kind} are no features"))
            return
        converted, changes = convert(column)
        action = "converted" if converted is not None else "left_out"
        remarks += [
            Remark(subject=name, action=action, count=count, reason=reason)
            for reason, count in changes.items()
            if count
        ]
        if converted is not None:
            # The converted values may need another conversion, as those of a dictionary do.
            yield from _plain(name, converted, remarks)


def _of_structure(
    name: str, column: pa.ChunkedArray, remarks: list[Remark]
) -> Iterator[NamedColumn]:
    parts = [column.type.field(i).name for i in range(column.type.num_fields)]
    if not parts:
        remarks.append(_left_out(name, column, "structures without parts are no features"))
        return
    names = ", ".join(f"{name}.{part}" for part in parts[:8]) + ", ..." * (len(parts) > 8)
    remarks.append(_converted(name, column, f"a structure, whose parts became columns: {names}"))
    for part, values in zip(parts, column.flatten(), strict=True):
        yield from _plain(f"{name}.{part}", values, remarks)


def _of_list(name: str, column: pa.ChunkedArray, remarks: list[Remark]) -> Iterator[NamedColumn]:
    if are_conversations(column.type):
        yield from conversations(name, column, remarks)
        return
    lengths = pc.min_max(pc.list_value_length(column)).as_py()
    items = lengths["min"]
    is_even = items == lengths["max"] and not column.null_count
    if not (is_even and items and items <= MOST_LIST_ITEMS and is_number(column.type.value_type)):
        reason = (
            f"lists of type {column.type} are no features; only lists of equally many numbers, "
            f"1 to {MOST_LIST_ITEMS}, become columns: take them apart with an sql: query"
        )
        remarks.append(_left_out(name, column, reason))
        return
    reason = f"lists of {items} numbers, which became the columns {name}_0 to {name}_{items - 1}"
    remarks.append(_converted(name, column, reason))
    flat = pc.list_flatten(column)
    flat = flat.combine_chunks() if isinstance(flat, pa.ChunkedArray) else flat
    for item in range(items):
        position = pa.array(range(item, len(flat), items), pa.int64())
        yield from _plain(f"{name}_{item}", pa.chunked_array([flat.take(position)]), remarks)


Changes = dict[str, int]
"""How many values changed, by the reason for a remark."""
Conversion = Callable[[pa.ChunkedArray], tuple[pa.ChunkedArray | None, Changes]]
"""Values of another type, or None where they are left out; and what changed."""


def _cast_to(kind: pa.DataType) -> Conversion:
    return lambda column: (column.cast(kind), {})


def _all(column: pa.ChunkedArray, reason: str) -> Changes:
    return {reason: len(column) - column.null_count}


def _others(column: pa.ChunkedArray, back: pa.ChunkedArray, reason: str) -> Changes:
    """The values that are others after they were converted there and back."""
    return {reason: pc.sum(pc.not_equal(column, back)).as_py() or 0}


def _decimal(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Changes]:
    values = column.cast(pa.float64())
    if column.type.precision <= EXACT_DIGITS:
        return values, {}
    reason = f"numbers of type {column.type}, kept as float64 with about {EXACT_DIGITS} digits"
    try:
        return values, _others(column, values.cast(column.type, safe=False), reason)
    except pa.ArrowInvalid:
        return values, _all(column, reason)


def _large_unsigned(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Changes]:
    try:
        return column.cast(pa.int64()), {}
    except pa.ArrowInvalid:
        reason = (
            "whole numbers above 9223372036854775807, kept as float64 with about "
            f"{EXACT_DIGITS} digits; drop the column where it is an identifier"
        )
        return column.cast(pa.float64(), safe=False), _all(column, reason)


def _time_of_day(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Changes]:
    whole = pa.int64() if column.type.bit_width == 64 else pa.int32()
    seconds = _seconds(column.cast(whole), column.type.unit)
    return seconds, _all(column, "times of day, kept as seconds")


def _duration(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Changes]:
    seconds = _seconds(column.cast(pa.int64()), column.type.unit)
    return seconds, _all(column, "durations, kept as seconds")


def _seconds(column: pa.ChunkedArray, unit: str) -> pa.ChunkedArray:
    parts = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[unit]
    return pc.divide(column.cast(pa.float64(), safe=False), parts)


def _timestamp(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray | None, Changes]:
    zone = column.type.tz
    kept = pa.timestamp("us", "UTC" if zone else None)
    changes = {}
    if zone not in _UTC:
        changes = _all(column, f"times of zone {zone}, kept as the same instants in UTC")
    if column.type.unit == "ns":
        values = column.cast(kept, safe=False)
        back = values.cast(column.type, safe=False)
        return values, changes | _others(column, back, "times in nanoseconds, kept in microseconds")
    try:
        return column.cast(kept), changes
    except pa.ArrowInvalid:
        return None, _all(column, "times too far away for microseconds in 64 bits")


def _binary(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray | None, Changes]:
    try:
        texts = column.cast(pa.string())
    except pa.ArrowInvalid:
        return None, _all(column, "bytes that are no text")
    return texts, _all(column, "bytes, kept as the text they are in UTF-8")


def _dictionary(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Changes]:
    return column.cast(column.type.value_type), {}


def _run_ends(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Changes]:
    return pc.run_end_decode(column), {}


def _extension(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Changes]:
    return column.cast(column.type.storage_type), {}


def _is_any(*kinds: Callable[[pa.DataType], bool]) -> Callable[[pa.DataType], bool]:
    return lambda kind: any(fits(kind) for fits in kinds)


_KEPT = {
    *(pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64()),
    *(pa.string(), pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC")),
}
_UTC = (None, "UTC", "Etc/UTC", "+00:00", "Z")
_types = pa.types
_CONVERSIONS: list[tuple[Callable[[pa.DataType], bool], Conversion]] = [
    (_types.is_dictionary, _dictionary),
    (_types.is_decimal, _decimal),
    (_types.is_float16, _cast_to(pa.float32())),
    (_types.is_uint8, _cast_to(pa.int16())),
    (_types.is_uint16, _cast_to(pa.int32())),
    (_types.is_uint32, _cast_to(pa.int64())),
    (_types.is_uint64, _large_unsigned),
    (_is_any(_types.is_large_string, _types.is_string_view), _cast_to(pa.string())),
    (_types.is_date64, _cast_to(pa.date32())),
    (_types.is_time, _time_of_day),
    (_types.is_duration, _duration),
    (_types.is_timestamp, _timestamp),
    (
        _is_any(
            *(_types.is_binary, _types.is_large_binary, _types.is_fixed_size_binary),
            _types.is_binary_view,
        ),
        _binary,
    ),
    (_types.is_run_end_encoded, _run_ends),
    (lambda kind: isinstance(kind, pa.BaseExtensionType), _extension),
]


def _left_out(name: str, column: pa.ChunkedArray, reason: str) -> Remark:
    count = len(column) - column.null_count
    return Remark(subject=name, action="left_out", count=count, reason=reason)


def _converted(name: str, column: pa.ChunkedArray, reason: str) -> Remark:
    count = len(column) - column.null_count
    return Remark(subject=name, action="converted", count=count, reason=reason)
