"""How the cells of CSV files are divided.

DuckDB's own sniffer is not used: where a line has another number of cells it takes another
delimiter, a row that begins with # for a comment, and lines before the header for nothing.
"""

import csv
import itertools
import re
from pathlib import Path
from typing import NamedTuple

from projects.dataset import Reading
from resources.datasets.columns import UnusableColumns, require_distinct
from resources.datasets.sources.encodings import TextFile
from resources.datasets.sources.rows import SourceUnreadable
from resources.datasets.sources.text_values import NUMBER, Place

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_LINES = 1_000


class Dialect(NamedTuple):
    """How the cells of a file are divided, and what its header says."""

    delimiter: str
    names: list[str]


def dialect_of(text: TextFile, read: Reading) -> Dialect:
    """The dialect that the lines of the file fit best. Raises SourceUnreadable."""
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


class Lines:
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
