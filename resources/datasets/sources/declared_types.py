"""What a declaration says of types, missing values and columns, done to the rows of any source."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

import pyarrow as pa

from engine.packed import names_of, unpacked, unpacked_schema
from projects.dataset import ColumnType, Dataset, NullWord, Reading
from projects.nearest import hint
from resources.datasets.arrow import pc
from resources.datasets.columns import UnusableColumns, is_number, plain
from resources.datasets.remarks import Remark
from resources.datasets.sources.rows import SourceRows, SourceUnreadable
from resources.datasets.sources.text_values import (
    DATE,
    DIGITS,
    MOMENT,
    NUMBER,
    TIME,
    TRUE_WORDS,
    ZONED,
    Place,
    PlaceOf,
    is_any,
    times_of,
    trimmed,
    without_plus,
)

TRUTH = r"^([tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[yY][eE][sS]|[nN][oO]|[yYnNtTfF10])$"
EXPECTED: dict[ColumnType, str] = {
    "number": "a number",
    "integer": "a whole number of 64 bits",
    "text": "text",
    "boolean": "true or false, yes or no, 1 or 0",
    "date": "a date such as 2024-12-31",
    "time": "a time of day such as 23:59:59",
    "timestamp": "a time such as 2024-12-31T23:59:59, with or without a zone such as +01:00",
}


def as_declared(rows: SourceRows, declared: Dataset) -> SourceRows:
    """The rows in plain types with the declared missing values and types, and of the declared
    columns only; nothing is remarked on columns that are not wanted.

    Raises SourceUnreadable that names the column, and the nearest name for one that is not there.
    """
    read, source = declared.read, f"{declared.source:.80}"
    table, remarks = plain_as_declared(rows.table, read, source)
    remarks = [*rows.remarks, *remarks]
    names = unpacked_schema(table.schema).names
    _require_known(read, names, {r.subject for r in remarks}, source)
    table = _kept(table, declared)
    wanted = [
        remark for remark in remarks if remark.about == "file" or is_kept(declared, remark.subject)
    ]
    return replace(rows, table=table, remarks=tuple(wanted))


def _kept(table: pa.Table, declared: Dataset) -> pa.Table:
    """The declared columns: a packed one as it is, unless one of those that it stands for has a
    role, or some are kept and others are not."""
    kept = []
    for field in table.schema:
        names = names_of(field)
        chosen = [name for name in names if is_kept(declared, name)]
        has_role = not set(declared.roles.values()).isdisjoint(names)
        kept += [field.name] if chosen == names and not has_role else chosen
    return unpacked(table, kept)


def plain_as_declared(table: pa.Table, read: Reading, where: str) -> tuple[pa.Table, list[Remark]]:
    """The table in plain types, with the declared missing values and types, and remarks on what
    changed without a declaration.

    Raises SourceUnreadable that begins with where the table is from and names the column.
    """
    if read.nulls or types_of(read, unpacked_schema(table.schema).names):
        table = unpacked(table)
    try:
        table, remarks = plain(_with_declared_texts(table, read))
    except UnusableColumns as error:
        raise SourceUnreadable(f"{where}: {error}") from error
    types = types_of(read, table.column_names)
    if not types and not read.nulls:
        return table, remarks
    columns = []
    for name, values in zip(table.column_names, table.columns, strict=True):
        column = without_words(values, read.nulls)
        if name in types:
            column = _in_type(name, column, types[name], where)
        columns.append(column)
    if columns:
        table = pa.Table.from_arrays(columns, table.column_names)
    return table, [remark for remark in remarks if remark.subject not in types]


def _with_declared_texts(table: pa.Table, read: Reading) -> pa.Table:
    """The table with declared texts as such, before large numbers lose digits as plain ones."""
    types = types_of(read, table.column_names)
    if not types:
        return table
    columns = []
    for name, values in zip(table.column_names, table.columns, strict=True):
        is_exact = pa.types.is_integer(values.type) or pa.types.is_decimal(values.type)
        is_text = is_exact and types.get(name) == "text"
        columns.append(values.cast(pa.string()) if is_text else values)
    return pa.Table.from_arrays(columns, table.column_names)


def types_of(read: Reading, names: Iterable[str]) -> dict[str, ColumnType]:
    """Declared type by the name of each column that has one; an exact name is before a pattern."""
    types = {}
    for name in names if read.types else ():
        patterns = [p for p in read.types if fnmatchcase(name, p)]
        if name in read.types or patterns:
            types[name] = read.types[name if name in read.types else patterns[0]]
    return types


def without_words(column: pa.ChunkedArray, words: list[NullWord]) -> pa.ChunkedArray:
    """The column with nulls in place of the words, and of numbers equal to them."""
    if not words:
        return column
    if pa.types.is_string(column.type):
        is_missing = pc.is_in(trimmed(column), pa.array([str(word) for word in words]))
    elif is_number(column.type) and not pa.types.is_boolean(column.type):
        numbers = [number for word in words if (number := _number(word)) is not None]
        is_missing = pc.is_in(
            column.cast(pa.float64(), safe=False), pa.array(numbers, pa.float64())
        )
    else:
        return column
    if not pc.any(is_missing).as_py():
        return column
    return pc.if_else(is_missing, pa.scalar(None, column.type), column)


class DeclaredType:
    """The declared type of a column that a source has as text."""

    def __init__(self, name: str, kind: ColumnType) -> None:
        self._name = name
        self._kind: ColumnType = kind
        self._has_zones = False

    def add(self, values: pa.ChunkedArray, row: int = 0) -> None:
        """Learn from more values whether times have zones."""
        if self._kind == "timestamp" and not self._has_zones:
            self._has_zones = is_any(trimmed(values), ZONED)

    def converted(self, values: pa.ChunkedArray, row: int, place_of: PlaceOf) -> pa.ChunkedArray:
        """The text in the declared type.

        Raises SourceUnreadable that names the first value that is not of the type.
        """
        if self._kind == "text":
            return values
        pattern, convert = _OF_TEXT[self._kind]
        if self._kind == "timestamp":
            convert = _moments_in_utc if self._has_zones else _moments
        bare = trimmed(values)
        wrong = _first_wrong(bare, pattern, convert)
        if wrong is None:
            return convert(bare)
        word = values[wrong].as_py()
        raise SourceUnreadable(
            f"{place_of(row + wrong)}: column {self._name!r} has {word!r:.80}, expected "
            f"{EXPECTED[self._kind]}, as declared under read: types; correct the value, or declare "
            f"read: {{nulls: [{word!r:.80}]}} where it is a missing one"
        )

    def remarks(self, place_of: PlaceOf) -> list[Remark]:
        """Nothing, because all is declared."""
        return []


def _number(word: NullWord) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _require_known(read: Reading, names: list[str], gone: set[str], source: str) -> None:
    """Raises SourceUnreadable for a column that is not there; one that is left out anyway may be
    kept or dropped by name."""
    for key in ("types", "keep", "drop"):
        known = names if key == "types" else [*names, *gone]
        for pattern in getattr(read, key):
            if not any(name == pattern or fnmatchcase(name, pattern) for name in known):
                raise SourceUnreadable(
                    f"{source} has no column {pattern!r}, which read: {key} names"
                    f"{hint(pattern, names)}"
                )


def is_kept(declared: Dataset, name: str) -> bool:
    """Whether the column is one of the declared columns."""
    read = declared.read
    if read.keep:
        return name in declared.roles.values() or _is_named(name, read.keep)
    return not _is_named(name, read.drop)


def _is_named(name: str, patterns: list[str]) -> bool:
    return name in patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _in_type(name: str, column: pa.ChunkedArray, kind: ColumnType, where: str) -> pa.ChunkedArray:
    if pa.types.is_string(column.type):
        declared = DeclaredType(name, kind)
        declared.add(column)
        return declared.converted(column, 0, lambda row: Place(where, None))
    wanted = _ARROW[kind]
    if column.type == wanted or (kind == "timestamp" and pa.types.is_timestamp(column.type)):
        return column
    try:
        if kind == "boolean" and is_number(column.type):
            return _only_bits(column).cast(wanted)
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SourceUnreadable(
            f"{where}: column {name!r} is of type {column.type}, expected "
            f"{EXPECTED[kind]} in every row, as declared under read: types: {error}"
        ) from error


def _only_bits(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pc.all(pc.is_in(column, pa.array([0, 1, None]).cast(column.type))).as_py() is False:
        raise pa.ArrowInvalid("a value is neither 0 nor 1")
    return column


def _first_wrong(
    values: pa.ChunkedArray, pattern: str, convert: Callable[[pa.ChunkedArray], pa.ChunkedArray]
) -> int | None:
    """Row of the first value that is not of the pattern, or else cannot be converted."""
    wrong = pc.index(pc.match_substring_regex(values, pattern), False).as_py()
    if wrong >= 0:
        return wrong
    try:
        convert(values)
    except pa.ArrowInvalid:
        low, high = 0, len(values)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _fails(values[low:middle], convert) else (middle, high)
        return low
    return None


def _fails(values: pa.ChunkedArray, convert: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> bool:
    try:
        convert(values)
    except pa.ArrowInvalid:
        return True
    return False


def _truth(values: pa.ChunkedArray) -> pa.ChunkedArray:
    truth = pc.is_in(pc.utf8_lower(values), pa.array([*TRUE_WORDS, "1"]))
    return pc.if_else(pc.is_valid(values), truth, None)


def _moments(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return values.cast(pa.timestamp("us"))


def _moments_in_utc(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return values.cast(pa.timestamp("us", "UTC"))


def _seconds(values: pa.ChunkedArray) -> pa.ChunkedArray:
    nanoseconds = times_of(values).cast(pa.int64())
    return pc.divide(nanoseconds.cast(pa.float64()), 1e9)


_ARROW: dict[ColumnType, pa.DataType] = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "text": pa.string(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "time": pa.float64(),
    "timestamp": pa.timestamp("us"),
}
_OF_TEXT: dict[ColumnType, tuple[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]]] = {
    "number": (NUMBER, lambda values: without_plus(values).cast(pa.float64())),
    "integer": (DIGITS, lambda values: without_plus(values).cast(pa.int64())),
    "boolean": (TRUTH, _truth),
    "date": (DATE, lambda values: values.cast(pa.date32())),
    "time": (TIME, _seconds),
    "timestamp": (f"{DATE}|{MOMENT}|{ZONED}", _moments),
}
