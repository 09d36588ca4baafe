"""JSON files: objects one a line, one a file or in a list, read by DuckDB with every key of every
row, and typed by all values."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from projects.dataset import Reading
from resources.datasets.arrow import pc
from resources.datasets.columns import UnusableColumns, require_distinct
from resources.datasets.remarks import Remark
from resources.datasets.sources.declared_types import of_text, types_of, without_words
from resources.datasets.sources.encodings import TextFile
from resources.datasets.sources.rows import SourceUnreadable
from resources.datasets.sources.text_columns import (
    Place,
    TextColumn,
    remark_on,
    remarks_on_text,
    typed,
)

FILE = "\x01file"
"""Column in which DuckDB puts the file of each row; no key has this name."""
STRING = r'^"'
TRUTH = r"^(true|false)$"
NESTED = r"^[\[{]"
RENAMED = re.compile(r"^(.+)_[0-9]+$")
"""Names that DuckDB gives a key that differs from another in case alone; and ordinary ones."""
# DuckDB would infer columns from a sample, and take many or rare keys for one map.
_OPTIONS = (
    "format = 'auto', records = true, maximum_depth = 1, sample_size = -1, union_by_name = true, "
    f"map_inference_threshold = -1, field_appearance_threshold = 0, "
    f"hive_partitioning = false, filename = '{FILE}'"
)


def read_json(
    files: list[TextFile], read: Reading, label: str | None
) -> tuple[pa.Table, list[int], list[Remark]]:
    """All rows of the files, the number of rows of each, and what was left out or converted.

    Raises SourceUnreadable.
    """
    import duckdb

    with duckdb.connect() as connection:
        try:
            table = _query(connection, files)
        except duckdb.Error as error:
            raise SourceUnreadable(_reason(connection, files, error)) from error
        _require_distinct_keys(connection, files, table)
    places = _Places(files, table.column(FILE))
    types = types_of(read, table.column_names)
    columns: dict[str, pa.ChunkedArray] = {}
    remarks: list[Remark] = []
    for name in table.column_names:
        if name != FILE:
            column = TextColumn(name, table.column(name), name == label, places.place_of)
            columns[name], about = _typed(column, read, types.get(name))
            remarks += about
    return pa.table(columns), places.counts(), remarks


def _query(connection: Any, files: list[TextFile]) -> pa.Table:
    paths = [str(file.path) for file in files]
    return connection.sql(f"FROM read_json(?, {_OPTIONS})", params=[paths]).to_arrow_table()


def _typed(
    column: TextColumn, read: Reading, declared: Any
) -> tuple[pa.ChunkedArray, list[Remark]]:
    """Values of JSON as the type they all have; those of several types as one text."""
    raw = column.values
    nested = _count(raw, NESTED)
    if nested:
        return _nested(column, is_whole=nested == len(raw) - raw.null_count)
    values = _unquoted(raw) if _count(raw, STRING) else raw
    column = column._replace(values=without_words(values, read.nulls))
    if declared:
        return of_text(column, declared), []
    raw = pc.if_else(pc.is_valid(column.values), raw, None)
    strings, truths = _count(raw, STRING), _count(raw, TRUTH)
    present = len(raw) - raw.null_count
    if strings and strings == present:
        return column.values, remarks_on_text(column)
    converted, remarks = typed(column)
    if (strings or 0 < truths < present) and not remarks:
        strange = pc.match_substring_regex(raw, STRING if strings else TRUTH)
        reason = f"values of several types, all read as {_called(converted.type)}"
        remarks = [remark_on(column, "converted", strange, reason)]
    return converted, remarks


def _count(values: pa.ChunkedArray, pattern: str) -> int:
    return pc.sum(pc.match_substring_regex(values, pattern)).as_py() or 0


def _called(kind: pa.DataType) -> str:
    return "text" if pa.types.is_string(kind) else str(kind)


def _unquoted(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Strings without quotes and escapes; other values as they are."""
    is_string = pc.match_substring_regex(values, STRING)
    if pc.any(pc.match_substring(values, "\\")).as_py():
        texts = [
            json.loads(value) if value is not None and value.startswith('"') else value
            for value in values.to_pylist()
        ]
        # A lone surrogate is legal JSON and no text.
        return pa.chunked_array([[v and v.encode(errors="replace").decode() for v in texts]])
    return pc.if_else(is_string, pc.utf8_slice_codeunits(values, 1, -1), values)


def _nested(column: TextColumn, is_whole: bool) -> tuple[pa.ChunkedArray, list[Remark]]:
    """Objects and lists as Arrow has them; nothing where they are of differing types."""
    try:
        values = [None if v is None else json.loads(v) for v in column.values.to_pylist()]
        if is_whole:
            return pa.chunked_array([pa.array(values)]), []
    except (pa.ArrowException, ValueError, OverflowError):
        pass
    reason = "objects and lists of differing types are no features; take them apart at the source"
    nothing = pa.chunked_array([pa.nulls(len(column.values), pa.string())])
    return nothing, [remark_on(column, "left_out", pc.is_valid(column.values), reason)]


def _reason(connection: Any, files: list[TextFile], error: Exception) -> str:
    """DuckDB's error of a JSON file in one sentence that names the file."""
    import duckdb

    message = str(error)
    named = [file for file in files if str(file.path) in message]
    for file in [] if named else files:
        try:
            _query(connection, [file])
        except duckdb.Error as again:
            named, message = [file], str(again)
            break
    name = named[0].name if named else f"one of {len(files)} files"
    first = message.splitlines()[0]
    if "non-record" in message:
        return (
            f"{name} cannot be read: it holds JSON that is no object, expected objects such as "
            '{"width": 1.5}, one a line, one a file or in a list'
        )
    line = re.search(r"in line (\d+)", first) or re.search(r"in record/value (\d+)", first)
    where = f"line {line[1]}" if line else "a line"
    what = re.sub(r"^.*(in line \d+|in record/value \d+)[:,]? ?", "", first).strip(" .")
    if not line:
        what = re.sub(r'in file "[^"]*"', "", first).strip(" .")
    return f"{name} cannot be read: {where}: {what}; expected whole JSON objects"


def _require_distinct_keys(connection: Any, files: list[TextFile], table: pa.Table) -> None:
    """Raises SourceUnreadable for keys that differ in case alone, which DuckDB renames."""
    known = {name.casefold() for name in table.column_names}
    suspects = [m for n in table.column_names if (m := RENAMED.match(n))]
    if not any(match[1].casefold() in known for match in suspects):
        return
    for file in files:
        query = (
            "SELECT DISTINCT unnest(json_keys(json)) AS key FROM read_json_objects(?, "
            "format = 'auto') ORDER BY key"
        )
        keys = connection.sql(query, params=[str(file.path)]).to_arrow_table()
        names = keys.column("key").to_pylist()
        try:
            require_distinct(names)
        except UnusableColumns as error:
            raise SourceUnreadable(f"{file.name}: {error}") from error


class _Places:
    """Where rows stand in their files."""

    def __init__(self, files: list[TextFile], paths: pa.ChunkedArray) -> None:
        self._names = {str(file.path): file.name for file in files}
        self._paths = paths

    def counts(self) -> list[int]:
        """Number of rows of every file."""
        counted = pc.value_counts(self._paths).to_pylist()
        rows = {entry["values"]: entry["counts"] for entry in counted}
        return [rows.get(path, 0) for path in self._names]

    def place_of(self, row: int) -> Place:
        """File of the row, and its line where the file has one row a line."""
        path = self._paths[row].as_py()
        first = pc.index(self._paths, path).as_py()
        rows = pc.sum(pc.equal(self._paths, path)).as_py()
        return Place(self._names[path], _line_of(Path(path), row - first, rows))


def _line_of(path: Path, row: int, rows: int) -> int | None:
    with path.open(encoding="utf-8-sig") as lines:
        numbers = [number for number, line in enumerate(lines, 1) if line.strip()]
    return numbers[row] if len(numbers) == rows else None
