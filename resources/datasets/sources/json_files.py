"""JSON files: objects one a line, one a file or in a list, read by DuckDB with every key of every
row, and typed by all values.

Small files are held as text; large ones are read once for the types and once for the rows.
"""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from projects.dataset import ColumnType, Reading
from resources.datasets.arrow import pc
from resources.datasets.columns import UnusableColumns, require_distinct
from resources.datasets.remarks import Remark
from resources.datasets.sources.answers import batches_of
from resources.datasets.sources.declared_types import DeclaredType, types_of, without_words
from resources.datasets.sources.encodings import TextFile
from resources.datasets.sources.rows import SourceUnreadable
from resources.datasets.sources.text_columns import (
    FoundType,
    NumbersInText,
    Typing,
    converted,
    learn,
)
from resources.datasets.sources.text_values import Marked, Place, PlaceOf

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


class JsonTables:
    """The rows of JSON files in the types that all values have."""

    def __init__(
        self, files: list[TextFile], read: Reading, label: str | None, is_large: bool = False
    ) -> None:
        """Reads all rows once. Raises SourceUnreadable."""
        self._files, self._held = files, None
        if not is_large:
            self._held = pa.concat_tables(_read_text(files))
        self._names = [n for n in next(self._texts()).column_names if n != FILE]
        _require_distinct_keys(files, self._names)
        types = types_of(read, self._names)
        self._typings = {
            name: _JsonColumn(name, read, types.get(name), name == label) for name in self._names
        }
        self.counts = [0] * len(files)
        learn(self._typings, self._counted())

    @property
    def is_steady(self) -> bool:
        """Whether no value is an object or a list, which become what all of them decide."""
        return not any(typing.is_nested for typing in self._typings.values())

    def tables(self) -> Iterator[tuple[int, pa.Table]]:
        """Number of the file and rows of it, at least one table. Raises SourceUnreadable."""
        for table in converted(self._typings, self._texts(), self._place_of):
            yield from self._by_file(table)

    def remarks(self) -> list[Remark]:
        """What was left out or converted, once all tables were read."""
        return [r for t in self._typings.values() for r in t.remarks(self._place_of)]

    def _texts(self) -> Iterator[pa.Table]:
        return _read_text(self._files) if self._held is None else iter([self._held])

    def _counted(self) -> Iterator[pa.Table]:
        for table in self._texts():
            for number, part in self._by_file(table):
                self.counts[number] += part.num_rows
            yield table

    def _by_file(self, table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
        """The rows of every file, one without rows as those of the first."""
        paths = pa.array([str(file.path) for file in self._files])
        of_rows = pc.index_in(table.column(FILE), paths).to_numpy()
        table = table.drop_columns([FILE])
        if not len(of_rows):
            yield 0, table
            return
        starts = np.flatnonzero(np.diff(of_rows, prepend=-1))
        for start, end in itertools.pairwise([*starts.tolist(), len(of_rows)]):
            yield int(of_rows[start]), table.slice(start, end - start)

    def _place_of(self, row: int) -> Place:
        """File of the row, and its line where the file has one row a line."""
        ends = list(itertools.accumulate(self.counts))
        number = next(i for i, end in enumerate(ends) if row < end)
        file, rows = self._files[number], self.counts[number]
        return Place(file.name, _line_of(file.path, row - ends[number] + rows, rows))


class _JsonColumn:
    """Values of a key: the type they all have; those of several types as one text."""

    def __init__(self, name: str, read: Reading, kind: ColumnType | None, is_label: bool) -> None:
        self._name, self._read, self._kind = name, read, kind
        self._typing: Typing = DeclaredType(name, kind) if kind else FoundType(name, is_label)
        self._texts = NumbersInText(name, is_label)
        self._all, self._strings, self._truths = Marked(), Marked(), Marked()
        self._present, self._nested = 0, 0
        self._became = ""

    @property
    def is_nested(self) -> bool:
        """Whether a value is an object or a list."""
        return self._nested > 0

    @property
    def _are_strings(self) -> bool:
        return not self._kind and 0 < self._strings.count == self._present

    def add(self, values: pa.ChunkedArray, row: int) -> None:
        self._all.add(pc.is_valid(values), values, row)
        self._nested += _count(values, NESTED)
        if self.is_nested:
            return
        bare = self._bare(values)
        self._typing.add(bare, row)
        left = pc.if_else(pc.is_valid(bare), values, None)
        self._present += len(left) - left.null_count
        self._strings.add(pc.match_substring_regex(left, STRING), bare, row)
        self._truths.add(pc.match_substring_regex(left, TRUTH), bare, row)

    def converted(self, values: pa.ChunkedArray, row: int, place_of: PlaceOf) -> pa.ChunkedArray:
        if self.is_nested:
            return self._structures(values)
        bare = self._bare(values)
        if self._are_strings:
            self._texts.add(bare, row)
            return bare
        typed = self._typing.converted(bare, row, place_of)
        self._became = "text" if pa.types.is_string(typed.type) else str(typed.type)
        return typed

    def remarks(self, place_of: PlaceOf) -> list[Remark]:
        if self.is_nested:
            reason = (
                "objects and lists of differing types are no features; take them apart at the "
                "source"
            )
            # Structures that all values have are remarked on where they become columns.
            is_lost = self._became == ""
            return [self._all.remark(self._name, True, reason, place_of)] if is_lost else []
        if self._are_strings:
            return self._texts.remarks(place_of)
        remarks = self._typing.remarks(place_of)
        has_some = self._strings.count or 0 < self._truths.count < self._present
        if remarks or self._kind or not has_some:
            return remarks
        strange = self._strings if self._strings.count else self._truths
        reason = f"values of several types, all read as {self._became}"
        return [strange.remark(self._name, False, reason, place_of)]

    def _bare(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        return without_words(_unquoted(values), self._read.nulls)

    def _structures(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Objects and lists as Arrow has them, of all rows; nothing where they are of differing
        types."""
        if self._nested == self._all.count:
            try:
                objects = [None if v is None else json.loads(v) for v in values.to_pylist()]
                became = pa.chunked_array([pa.array(objects)])
            except (pa.ArrowException, ValueError, OverflowError):
                pass
            else:
                self._became = str(became.type)
                return became
        return pa.chunked_array([pa.nulls(len(values), pa.string())])


def _read_text(files: list[TextFile]) -> Iterator[pa.Table]:
    """Every value of all rows as JSON writes it, and the file of each row, in portions, at least
    one. Raises SourceUnreadable."""
    import duckdb

    with duckdb.connect() as connection:
        try:
            for batch in batches_of(_query(connection, files)):
                schema = pa.schema([pa.field(name, pa.string()) for name in batch.schema.names])
                yield pa.Table.from_batches([batch]).cast(schema)
        except duckdb.Error as error:
            raise SourceUnreadable(_reason(connection, files, error)) from error


def _query(connection: Any, files: list[TextFile]) -> Any:
    paths = [str(file.path) for file in files]
    return connection.sql(f"FROM read_json(?, {_OPTIONS})", params=[paths])


def _count(values: pa.ChunkedArray, pattern: str) -> int:
    return pc.sum(pc.match_substring_regex(values, pattern)).as_py() or 0


def _unquoted(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Strings without quotes and escapes; other values as they are."""
    is_string = pc.match_substring_regex(values, STRING)
    if not pc.any(is_string).as_py():
        return values
    if pc.any(pc.match_substring(values, "\\")).as_py():
        texts = [
            json.loads(value) if value is not None and value.startswith('"') else value
            for value in values.to_pylist()
        ]
        # A lone surrogate is legal JSON and no text.
        whole = [v and v.encode(errors="replace").decode() for v in texts]
        return pa.chunked_array([pa.array(whole, pa.string())])
    return pc.if_else(is_string, pc.utf8_slice_codeunits(values, 1, -1), values)


def _reason(connection: Any, files: list[TextFile], error: Exception) -> str:
    """DuckDB's error of a JSON file in one sentence that names the file."""
    import duckdb

    message = str(error)
    named = [file for file in files if str(file.path) in message]
    for file in [] if named else files:
        try:
            _query(connection, [file]).to_arrow_table()
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


def _require_distinct_keys(files: list[TextFile], names: list[str]) -> None:
    """Raises SourceUnreadable for keys that differ in case alone, which DuckDB renames."""
    import duckdb

    known = {name.casefold() for name in names}
    suspects = [m for n in names if (m := RENAMED.match(n))]
    if not any(match[1].casefold() in known for match in suspects):
        return
    query = (
        "SELECT DISTINCT unnest(json_keys(json)) AS key FROM read_json_objects(?, "
        "format = 'auto') ORDER BY key"
    )
    with duckdb.connect() as connection:
        for file in files:
            keys = connection.sql(query, params=[str(file.path)]).to_arrow_table()
            try:
                require_distinct(keys.column("key").to_pylist())
            except UnusableColumns as error:
                raise SourceUnreadable(f"{file.name}: {error}") from error


def _line_of(path: Path, row: int, rows: int) -> int | None:
    with path.open(encoding="utf-8-sig") as lines:
        found, count = None, 0
        for number, line in enumerate(lines, 1):
            if line.strip():
                found = number if count == row else found
                count += 1
    return found if count == rows else None
