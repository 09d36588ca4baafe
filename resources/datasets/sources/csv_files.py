"""CSV files: read by DuckDB as text, in the dialect that all lines fit, and typed by all rows.

Small files are held as text; large ones are read once for the types and once for the rows.
"""

import itertools
import re
from collections.abc import Iterator

import pyarrow as pa

from projects.dataset import ColumnType, Reading
from resources.datasets.arrow import pc
from resources.datasets.remarks import Remark
from resources.datasets.sources.answers import batches_of
from resources.datasets.sources.csv_dialects import Dialect, Lines, dialect_of
from resources.datasets.sources.declared_types import DeclaredType, types_of, without_words
from resources.datasets.sources.encodings import TextFile
from resources.datasets.sources.rows import SourceUnreadable
from resources.datasets.sources.text_columns import FoundType, Typing, converted, learn
from resources.datasets.sources.text_values import PlaceOf, first_of
from resources.datasets.sources.union import FileTable, joined

BUFFER_BYTES = 4 << 20
"""Parts of a file that DuckDB has in memory, some for each thread: two lines of the longest that it
reads, and an eighth of what it would take by itself."""
INDEX = re.compile(r"^(Unnamed: 0|)$")
"""Names that pandas gives the numbers of rows it writes beside them."""


class CsvTables:
    """The rows of CSV files in the types that all values have."""

    is_steady = True

    def __init__(
        self, files: list[TextFile], read: Reading, label: str | None, is_large: bool = False
    ) -> None:
        """Reads all rows once. Raises SourceUnreadable."""
        self._cells = [_Cells.of(text, read, is_large) for text in files]
        self._names = [cells.file.name for cells in self._cells]
        empty = [FileTable(c.file.name, c.empty) for c in self._cells]
        names = joined(empty)[0].column_names
        commas = read.decimal == "," or (
            read.decimal is None and all(c.dialect.delimiter != "," for c in self._cells)
        )
        types = types_of(read, names)
        self._typings = {
            name: _CsvColumn(name, read, types.get(name), name == label, commas) for name in names
        }
        ends = [0]
        for cells in self._cells:
            ends.append(learn(self._typings, cells.tables(), ends[-1]))
        self.counts = [end - start for start, end in itertools.pairwise(ends)]
        self._lines = Lines(files, [c.dialect for c in self._cells], self.counts, read)

    def tables(self) -> Iterator[tuple[int, pa.Table]]:
        """Number of the file and rows of it, at least one table each. Raises SourceUnreadable."""
        row = 0
        for number, cells in enumerate(self._cells):
            for table in converted(self._typings, cells.tables(), self._lines.place_of, row):
                yield number, table
            row += self.counts[number]

    def remarks(self) -> list[Remark]:
        """What was left out or converted, once all tables were read."""
        of_types = [r for t in self._typings.values() for r in t.remarks(self._lines.place_of)]
        return [*(r for cells in self._cells for r in cells.remarks), *of_types]


class _CsvColumn:
    """A column of cells: declared missing values and signs of numbers, then its type."""

    def __init__(
        self, name: str, read: Reading, kind: ColumnType | None, is_label: bool, commas: bool
    ) -> None:
        self._read, self._kind = read, kind
        self._typing: Typing = (
            DeclaredType(name, kind) if kind else FoundType(name, is_label, commas)
        )

    def add(self, values: pa.ChunkedArray, row: int) -> None:
        self._typing.add(self._bare(values), row)

    def converted(self, values: pa.ChunkedArray, row: int, place_of: PlaceOf) -> pa.ChunkedArray:
        return self._typing.converted(self._bare(values), row, place_of)

    def remarks(self, place_of: PlaceOf) -> list[Remark]:
        return self._typing.remarks(place_of)

    def _bare(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        bare = without_words(values, self._read.nulls)
        return bare if self._kind == "text" else _localised(bare, self._read)


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


class _Cells:
    """The cells of a file as text, but for columns that hold no data."""

    def __init__(
        self, file: TextFile, dialect: Dialect, held: pa.Table | None, read: Reading
    ) -> None:
        self.file, self.dialect, self._held, self._read = file, dialect, held, read
        kept, self.remarks = _columns_of_data(self, read)
        self._kept = kept if len(kept) < len(dialect.names) else None

    @classmethod
    def of(cls, file: TextFile, read: Reading, is_large: bool) -> "_Cells":
        """The cells of the file, which is held in memory unless it is large."""
        dialect = dialect_of(file, read)
        # Folders of all formats become columns in the same way (tables.py), so not by DuckDB.
        held = None if is_large else pa.concat_tables(_read_text(file, dialect, read))
        return cls(file, dialect, held, read)

    @property
    def empty(self) -> pa.Table:
        """No row of the columns of data."""
        names = [self.dialect.names[i] for i in self._kept or range(len(self.dialect.names))]
        return pa.table([pa.array([], pa.string()) for _ in names], names)

    def tables(self) -> Iterator[pa.Table]:
        """All rows in the columns of data. Raises SourceUnreadable."""
        return self.columns(self._kept)

    def columns(self, positions: list[int] | None) -> Iterator[pa.Table]:
        """All rows in the columns at the positions, or all. Raises SourceUnreadable."""
        if self._held is not None:
            yield self._held if positions is None else self._held.select(positions)
            return
        yield from _read_text(self.file, self.dialect, self._read, positions)


def _read_text(
    text: TextFile, dialect: Dialect, read: Reading, positions: list[int] | None = None
) -> Iterator[pa.Table]:
    """All rows of the file in portions, at least one. Raises SourceUnreadable."""
    import duckdb

    # Names of the header may be empty or hold quotes, so DuckDB gets others.
    chosen = list(range(len(dialect.names))) if positions is None else positions
    quoted = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(dialect.names)))
    query = (
        f"SELECT {', '.join(f'c{i}' for i in chosen)} "
        f"FROM read_csv(?, columns = {{{quoted}}}, auto_detect = false, delim = ?, quote = ?, "
        "escape = ?, header = ?, skip = ?, strict_mode = true, comment = '', nullstr = '', "
        f"hive_partitioning = false, buffer_size = {BUFFER_BYTES})"
    )
    parameters = [str(text.path), dialect.delimiter, read.quote, read.quote, read.header, read.skip]
    schema = pa.schema([pa.field(f"c{i}", pa.string()) for i in chosen])
    names = [dialect.names[i] for i in chosen]
    try:
        with duckdb.connect() as connection:
            for batch in batches_of(connection.sql(query, params=parameters)):
                yield pa.Table.from_batches([batch]).cast(schema).rename_columns(names)
    except duckdb.Error as error:
        reason = _reason(str(error), len(dialect.names))
        raise SourceUnreadable(f"{text.name} cannot be read: {reason}") from error


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


def _columns_of_data(cells: _Cells, read: Reading) -> tuple[list[int], list[Remark]]:
    """Positions of the columns but those without a name: row numbers, and the empty one behind a
    delimiter at the end of each line."""
    names, file = cells.dialect.names, cells.file.name
    unnamed = {
        index: _Unnamed(name)
        for index, name in enumerate(names)
        if INDEX.search(name) and name not in read.keep and name not in read.types
    }
    if not unnamed:
        return list(range(len(names))), []
    for table in cells.columns(list(unnamed)):
        for column, values in zip(unnamed.values(), table.columns, strict=True):
            column.add(values)
    remarks, kept = [], []
    for index, name in enumerate(names):
        column = unnamed.get(index)
        reason = column.reason() if column else None
        if column is None or reason is None:
            if column and not name:
                raise SourceUnreadable(
                    f"{file} column {index + 1} has no name and holds values such as "
                    f"{column.example!r:.80}; name it in the header, or declare read: "
                    "{names: [...]}"
                )
            kept.append(index)
            continue
        subject = name or f"column {index + 1} of {file}"
        remarks.append(Remark(subject=subject, action="left_out", count=column.rows, reason=reason))
    return kept, remarks


class _Unnamed:
    """A column whose name says that it may be no data, and what its values say."""

    def __init__(self, name: str) -> None:
        self._name, self.rows = name, 0
        self.example: str | None = None
        self._are_row_numbers = True

    def add(self, values: pa.ChunkedArray) -> None:
        """Take the values of the next rows."""
        end = self.rows + len(values)
        if self._are_row_numbers:
            numbers = pa.array(range(self.rows, end), pa.int64()).cast(pa.string())
            self._are_row_numbers = values.equals(pa.chunked_array([numbers]))
        if self.example is None and values.null_count < len(values):
            self.example = first_of(values)
        self.rows = end

    def reason(self) -> str | None:
        """Why the column is no data; None where it is."""
        if self.example is None and not self._name:
            return "a column without a name or a value"
        if self._are_row_numbers:
            return "the numbers of the rows are no feature; name the column to keep it"
        return None
