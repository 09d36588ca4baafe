"""Tables in files of one format, local or in a bucket."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath
from typing import Any, Protocol

import pyarrow as pa

from projects.dataset import Reading
from resources.datasets.remarks import Remark
from resources.datasets.sources import large
from resources.datasets.sources.csv_files import CsvTables
from resources.datasets.sources.encodings import TextFile, as_utf8
from resources.datasets.sources.json_files import JsonTables
from resources.datasets.sources.listing import (
    FORMATS,
    Found,
    FoundFile,
    absolute,
    answering,
    bytes_of,
    found_at,
)
from resources.datasets.sources.parquet_files import read_parquet
from resources.datasets.sources.parquet_stream import ParquetStream, files_are_steady
from resources.datasets.sources.partitions import with_partitions
from resources.datasets.sources.rows import SourceRows, SourceUnreadable
from resources.datasets.sources.spool import Spool
from resources.datasets.sources.union import FileTable, joined


def read_files(
    address: str, base: Path, read: Reading, label: str | None, spool: Spool | None = None
) -> SourceRows | ParquetStream:
    """All rows of the files at the address, in the order of their paths; with a spool a stream
    of them where they are large and of steady types.

    Raises SourceUnreadable or SourceUnreachable.
    """
    place = absolute(address, base)
    found = found_at(place, FORMATS)
    kind, about = _format_of(place, found), found.remarks(address)
    is_large = spool is not None and bytes_of(found) >= large.LARGE_BYTES
    if kind == "parquet":
        if is_large and files_are_steady(found, read):
            return ParquetStream(found, read, label, about)
        table, counts, remarks = read_parquet(found.system, found.files, read)
    else:
        with _texts(found, read, spool if is_large else None) as (texts, more):
            about += more
            if spool is not None and is_large:
                rows = _opened(kind, texts, read, label, is_large)
                if rows.is_steady:
                    return _spooled(rows, found, read, label, spool, about)
            table, counts, remarks = _whole(_opened(kind, texts, read, label), texts)
    table, more = with_partitions(table, found.files, counts, label)
    return SourceRows(table, (*about, *remarks, *more))


class TextTables(Protocol):
    """The rows of files as text in the types that all values have."""

    counts: list[int]
    """Number of rows of every file."""

    @property
    def is_steady(self) -> bool:
        """Whether a portion tells how all values are kept."""
        ...

    def tables(self) -> Iterator[tuple[int, pa.Table]]:
        """Number of the file and rows of it. Raises SourceUnreadable."""
        ...

    def remarks(self) -> list[Remark]:
        """What was left out or converted, once all tables were read."""
        ...


def _opened(
    kind: str, texts: list[TextFile], read: Reading, label: str | None, is_large: bool = False
) -> TextTables:
    return (CsvTables if kind == "csv" else JsonTables)(texts, read, label, is_large)


def _whole(rows: TextTables, texts: list[TextFile]) -> tuple[pa.Table, list[int], list[Remark]]:
    parts: dict[int, list[pa.Table]] = {}
    for number, table in rows.tables():
        parts.setdefault(number, []).append(table)
    whole, remarks = joined(
        [FileTable(texts[n].name, pa.concat_tables(tables)) for n, tables in parts.items()]
    )
    return whole, rows.counts, [*rows.remarks(), *remarks]


def _spooled(
    rows: TextTables,
    found: Found,
    read: Reading,
    label: str | None,
    spool: Spool,
    about: list[Remark],
) -> ParquetStream:
    paths = spool.write_each(rows.tables())
    files = [FoundFile(str(path), found.files[n].name) for n, path in paths.items()]
    known = [*about, *rows.remarks()]
    return ParquetStream(Found(None, files, []), read, label, known, is_spooled=True)


def _format_of(place: str, files: Found) -> str:
    if not files.files:
        others = f" (it has {', '.join(files.others[:4])})" if files.others else ""
        raise SourceUnreadable(
            f"no file matches {place}{others}; expected Parquet, CSV or JSON under names that do "
            f"not start with . or _ and end in {', '.join(FORMATS)}"
        )
    formats = {FORMATS.get(PurePath(file.path).suffix.lower()) for file in files.files}
    if len(formats) != 1 or None in formats:
        raise SourceUnreadable(
            f"{place} holds {sorted({PurePath(f.path).suffix for f in files.files})}; expected "
            f"files of one format among {', '.join(FORMATS)}"
        )
    return str(formats.pop())


@contextmanager
def _texts(
    files: Found, read: Reading, spool: Spool | None
) -> Iterator[tuple[list[TextFile], list[Remark]]]:
    """The files on this machine and in UTF-8, for as long as they are read."""
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(
            prefix="orrery-source-", dir=spool.root if spool else None
        )
        folder = Path(stack.enter_context(temporary))
        texts, remarks = [], []
        for number, file in enumerate(files.files):
            path = Path(file.path)
            if files.system is not None:
                # Numbered, because files of different folders may have the same name.
                path = _fetched(files.system, file, folder / f"{number:06d}-{path.name}")
            with answering(f"{file.name} cannot be read"):
                text, remark = as_utf8(path, file.name, read.encoding, folder)
            texts.append(text)
            remarks += [remark] if remark else []
        yield texts, remarks


def _fetched(system: Any, file: FoundFile, target: Path) -> Path:
    with (
        answering(f"{file.name} cannot be read"),
        system.open_input_stream(file.path) as source,
        target.open("wb") as copy,
    ):
        while chunk := source.read(1 << 20):
            copy.write(chunk)
    return target
