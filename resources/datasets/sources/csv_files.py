"""CSV files: read by DuckDB as text, in the dialect that all lines fit, and typed by all rows.

DuckDB's own sniffer is not used: where a line has another number of cells it takes another
delimiter, a row that begins with # for a comment, and lines before the header for nothing.
"""

import csv
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from projects.dataset import Reading
from resources.datasets.arrow import pc
from resources.datasets.columns import UnusableColumns, require_distinct
from resources.datasets.remarks import Remark
from resources.datasets.sources.declared_types import of_text, types_of, without_words
from resources.datasets.sources.encodings import TextFile
from resources.datasets.sources.rows import SourceUnreadable
from resources.datasets.sources.text_columns import NUMBER, Place, TextColumn, typed
from resources.datasets.sources.union import FileTable, joined

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_LINES = 1_000
INDEX = re.compile(r"^(Unnamed: 0|)$")
"""Names that pandas gives the numbers of rows it writes beside them."""


class Dialect(NamedTuple):
    """How the cells of a file are divided, and what its header says."""

    delimiter: str
    names: list[str]


def read_csv(
    files: list[TextFile], read: Reading, label: str | None
) -> tuple[pa.Table, list[int], list[Remark]]:
    """All rows of the files, the number of rows of each, and what was left out or converted.

    Raises SourceUnreadable.
    """
    import duckdb

    tables, dialects, remarks = [], [], []
    with duckdb.connect() as connection:
        for text in files:
            dialect = _dialect_of(text, read)
            table = _read_text(connection, text, dialect, read)
            table, about = _without_index(table, text.name, read)
            tables.append(FileTable(text.name, table))
            dialects.append(dialect)
            remarks += about
    table, more = joined(tables)
    counts = [t.table.num_rows for t in tables]
    lines = _Lines(files, dialects, counts, read)
    commas = read.decimal == "," or (
        read.decimal is None and all(d.delimiter != "," for d in dialects)
    )
    table, about = _in_types(table, read, label, lines, commas)
    return table, counts, [*remarks, *more, *about]


def _in_types(
    table: pa.Table, read: Reading, label: str | None, lines: "_Lines", decimal_commas: bool
) -> tuple[pa.Table, list[Remark]]:
    types = types_of(read, table.column_names)
    columns, remarks = [], []
    for name, values in zip(table.column_names, table.columns, strict=True):
        bare = without_words(values, read.nulls)
        if types.get(name) != "text":
            bare = _localised(bare, read)
        column = TextColumn(name, bare, name == label, lines.place_of, decimal_commas)
        if name in types:
            columns.append(of_text(column, types[name]))
            continue
        converted, about = typed(column)
        columns.append(converted)
        remarks += about
    return pa.Table.from_arrays(columns, table.column_names), remarks


def _localised(values: pa.ChunkedArray, read: Reading) -> pa.ChunkedArray:
    """Numbers with the declared decimal sign and thousands separator as Arrow writes them."""
    if read.decimal is None and read.thousands is None:
        return values
    decimal = read.decimal or "."
    thousands = read.thousands or ("." if decimal == "," else ",")
    d, t = re.escape(decimal), re.escape(thousands)
    number = rf"^\s*[+-]?([0-9]+|[0-9]{{1,3}}({t}[0-9]{{3}})+)({d}[0-9]*)?([eE][+-]?[0-9]+)?\s*$"
    bare = pc.replace_substring(values, thousands, "")
    bare = pc.replace_substring(bare, decimal, ".")
    return pc.if_else(pc.match_substring_regex(values, number), bare, values)


def _dialect_of(text: TextFile, read: Reading) -> Dialect:
    # Line ends stay as they are, because cells in quotes may hold them.
    with text.path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(itertools.islice(file, read.skip, read.skip + SAMPLE_LINES))
    if not any(line.strip() for line in lines):
        raise SourceUnreadable(
            f"{text.name} cannot be read: it is empty; expected a line with the names of the "
            "columns, and rows"
        )
    candidates = [read.delimiter] if read.delimiter else DELIMITERS
    records = {d: _records(lines, d, read.quote) for d in candidates}
    delimiter = max(records, key=lambda d: _fitness(records[d], d))
    first = records[delimiter][0]
    if read.names and len(read.names) != len(first):
        raise SourceUnreadable(
            f"{text.name} line {read.skip + 1} has {len(first)} columns, expected "
            f"{len(read.names)} as declared under read: names"
        )
    names = read.names or (
        [name.strip() for name in first]
        if read.header
        else [f"column_{i}" for i in range(1, len(first) + 1)]
    )
    _require_usable(names, text.name, read)
    return Dialect(delimiter, names)


def _records(lines: list[str], delimiter: str, quote: str) -> list[list[str]]:
    """The cells of the lines, but for a last record that the sample may have cut."""
    reader = csv.reader(lines, delimiter=delimiter, quotechar=quote)
    records: list[list[str]] = []
    try:
        records.extend(record for record in reader if record)
    except csv.Error:  # a cell too long for Python's reader; DuckDB says what it makes of it
        records = records or [lines[0].split(delimiter)]
    return records[:-1] if len(lines) == SAMPLE_LINES and len(records) > 1 else records


def _fitness(records: list[list[str]], delimiter: str) -> tuple[bool, int, int]:
    """Greater for a delimiter by which all lines have as many cells as the header, then for that
    which divides most lines; a comma, which numbers and sentences hold as well, comes last."""
    width, is_sign = len(records[0]), delimiter != ","
    if width > 1 and all(len(record) == width for record in records):
        return True, is_sign, width
    return False, sum(len(record) > 1 for record in records), is_sign


def _require_usable(names: list[str], file: str, read: Reading) -> None:
    try:
        require_distinct([name for name in names if name])
    except UnusableColumns as error:
        raise SourceUnreadable(f"{file}: {error}") from error
    is_header = read.header and not read.names
    if is_header and names and all(re.search(NUMBER, name) for name in names):
        raise SourceUnreadable(
            f"{file} line {read.skip + 1} holds numbers ({', '.join(names[:4])}), expected the "
            "names of the columns; add them, or declare read: {header: false, names: [...]}"
        )


def _read_text(connection: Any, text: TextFile, dialect: Dialect, read: Reading) -> pa.Table:
    import duckdb

    # Names of the header may be empty or hold quotes, so DuckDB gets others.
    quoted = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(dialect.names)))
    # Folders become columns for every format in the same way (tables.py), so not by DuckDB.
    query = (
        f"FROM read_csv(?, columns = {{{quoted}}}, auto_detect = false, delim = ?, quote = ?, "
        "escape = ?, header = ?, skip = ?, strict_mode = true, comment = '', nullstr = '', "
        "hive_partitioning = false)"
    )
    parameters = [str(text.path), dialect.delimiter, read.quote, read.quote, read.header, read.skip]
    try:
        table = connection.sql(query, params=parameters).to_arrow_table()
    except duckdb.Error as error:
        reason = _reason(str(error), len(dialect.names))
        raise SourceUnreadable(f"{text.name} cannot be read: {reason}") from error
    kinds = [pa.field(f"c{i}", pa.string()) for i in range(len(dialect.names))]
    return table.cast(pa.schema(kinds)).rename_columns(dialect.names)


def _reason(message: str, columns: int) -> str:
    """DuckDB's error of a CSV file in one sentence."""
    line = re.search(r"Line: (\d+)", message)
    where = f"line {line[1]}" if line else "a line"
    if counts := re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message):
        return (
            f"{where} has {counts[2]} columns, expected {columns} columns as in the first line; "
            "correct the line, or declare read: with delimiter, quote or skip"
        )
    if "quote" in message:
        return (
            f"{where} has a quote that does not end where the cell does, expected cells in whole "
            "quotes with quotes inside doubled; correct the line, or declare read: {quote: ...}"
        )
    if "Maximum line size" in message:
        return f"{where} is longer than 2,000,000 bytes, expected shorter rows; is a quote missing?"
    return f"{where}: {message.splitlines()[0]}; expected a whole CSV file"


def _without_index(table: pa.Table, file: str, read: Reading) -> tuple[pa.Table, list[Remark]]:
    """The table without columns that have no name: row numbers, and the empty one behind a
    delimiter at the end of each line."""
    remarks, kept = [], []
    for index, (name, values) in enumerate(zip(table.column_names, table.columns, strict=True)):
        is_named = not INDEX.search(name) or name in read.keep or name in read.types
        reason = None if is_named else _why_no_data(name, values)
        if reason is None:
            if not name:
                raise SourceUnreadable(
                    f"{file} column {index + 1} has no name and holds values such as "
                    f"{_example(values)!r:.80}; name it in the header, or declare read: "
                    "{names: [...]}"
                )
            kept.append(index)
            continue
        subject = name or f"column {index + 1} of {file}"
        remarks.append(Remark(subject=subject, action="left_out", count=len(values), reason=reason))
    return (table.select(kept) if remarks else table), remarks


def _why_no_data(name: str, values: pa.ChunkedArray) -> str | None:
    if values.null_count == len(values) and not name:
        return "a column without a name or a value"
    if _are_row_numbers(values):
        return "the numbers of the rows are no feature; name the column to keep it"
    return None


def _are_row_numbers(values: pa.ChunkedArray) -> bool:
    expected = map(str, range(len(values)))
    return all(v == n for v, n in zip(_strings(values), expected, strict=True))


def _strings(values: pa.ChunkedArray) -> Iterator[str | None]:
    return (value.as_py() for chunk in values.chunks for value in chunk)


def _example(values: pa.ChunkedArray) -> str | None:
    return next((value for value in _strings(values) if value is not None), None)


class _Lines:
    """Where rows of the joined table stand in the files."""

    def __init__(
        self, files: list[TextFile], dialects: list[Dialect], rows: list[int], read: Reading
    ) -> None:
        self._files, self._dialects, self._read = files, dialects, read
        self._starts = list(itertools.accumulate(rows, initial=0))

    def place_of(self, row: int) -> Place:
        """File and line of the row."""
        number = next(i for i, end in enumerate(self._starts[1:]) if row < end)
        file, left = self._files[number], row - self._starts[number]
        return Place(file.name, self._line(file.path, self._dialects[number], left))

    def _line(self, path: Path, dialect: Dialect, row: int) -> int | None:
        """Line that the row begins in; cells in quotes may hold line ends."""
        left, begun = row + self._read.header, self._read.skip
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rest = itertools.islice(lines, self._read.skip, None)
            reader = csv.reader(rest, delimiter=dialect.delimiter, quotechar=self._read.quote)
            try:
                for record in reader:
                    if record and left == 0:
                        return begun + 1
                    left -= bool(record)
                    begun = self._read.skip + reader.line_num
            except csv.Error:  # a cell too long for Python's reader
                return None
        return None
