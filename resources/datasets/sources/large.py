"""Which sources are read in portions, because they are too large for memory."""

from pathlib import Path, PurePath

from projects.schema import Dataset
from resources.datasets.sources.listing import FORMATS, Found, absolute, found_at
from resources.datasets.sources.parquet_stream import ParquetStream, are_steady
from resources.datasets.streams import RowStream

LARGE_BYTES = 256 << 20
"""Size of files from which they are read in portions."""


def large_rows(declared: Dataset, base: Path) -> RowStream | None:
    """The rows of a large source of Parquet files; None for others, and where values of all rows
    decide the type of a column.

    Raises SourceUnreadable, SourceUnreachable or UnusableColumns.
    """
    scheme, _, address = declared.source.partition(":")
    if scheme != "files" or declared.watch is not None:
        return None
    found = found_at(absolute(address, base), FORMATS)
    if not found.files or {_suffix(file.path) for file in found.files} != {".parquet"}:
        return None
    if _bytes_of(found) < LARGE_BYTES or not are_steady(found, declared):
        return None
    return ParquetStream(address, found, declared)


def _suffix(path: str) -> str:
    return PurePath(path).suffix.lower()


def _bytes_of(found: Found) -> int:
    if found.system is None:
        return sum(Path(file.path).stat().st_size for file in found.files)
    return sum(info.size for info in found.system.get_file_info([f.path for f in found.files]))
