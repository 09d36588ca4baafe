"""The rows of any declared source, by the reader of its scheme."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from engine.packed import unpacked
from projects.schema import Dataset
from resources.datasets.columns import UnusableColumns, require_distinct, with_types
from resources.datasets.remarks import Remark, merged
from resources.datasets.sources.appended import AppendedStream, UnpackedStream
from resources.datasets.sources.bundled import read_bundled
from resources.datasets.sources.declared_stream import DeclaredStream, numbers_in_texts
from resources.datasets.sources.declared_types import as_declared, plain_as_declared, types_of
from resources.datasets.sources.derived import Origins, read_derived
from resources.datasets.sources.images import read_images
from resources.datasets.sources.listing import absolute, watched_files
from resources.datasets.sources.queries import read_query
from resources.datasets.sources.request_log import read_requests
from resources.datasets.sources.rows import SourceRows, SourceUnreadable
from resources.datasets.sources.spool import Spool, spool
from resources.datasets.sources.tables import read_files
from resources.datasets.sources.text_values import nowhere
from resources.datasets.streams import RowStream, TableStream
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import RequestLogs

NO_ORIGINS = Origins()


class Sources:
    """Reads the source of a declared dataset."""

    def __init__(self, objects: ObjectStore, request_logs: RequestLogs) -> None:
        self._objects, self._request_logs = objects, request_logs

    @contextmanager
    def rows(
        self, project: str, declared: Dataset, base: Path, origins: Origins = NO_ORIGINS
    ) -> Iterator[SourceRows | RowStream]:
        """The rows of the declared source: large ones as a stream, where their kind has one, which
        may be read until the context ends, and others as `read` gives them. Raises as `read`."""
        with spool() as folder:
            yield self._read(project, declared, base, origins, folder)

    def read(
        self, project: str, declared: Dataset, base: Path, origins: Origins = NO_ORIGINS
    ) -> SourceRows:
        """All rows of the declared source and of what arrived in its watched folder, in plain
        types, and what was left out or converted.

        Relative paths start at `base`; a dataset that is made from others has origins. Raises
        SourceUnreadable, or SourceUnreachable for a bucket that does not answer.
        """
        rows = self._read(project, declared, base, origins, None)
        assert isinstance(rows, SourceRows)
        return rows

    def _read(
        self,
        project: str,
        declared: Dataset,
        base: Path,
        origins: Origins,
        folder: Spool | None,
    ) -> SourceRows | RowStream:
        with _explained(declared):
            rows = self._read_source(project, declared, base, origins, folder)
            if declared.watch and watched_files(declared, base):
                more = read_files(declared.watch, base, declared.read, declared.label, folder)
                rows = _appended(rows, more, declared)
            if not (rows.table.num_rows if isinstance(rows, SourceRows) else rows.rows):
                raise SourceUnreadable(f"{declared.source} has no rows; expected at least one")
            if isinstance(rows, SourceRows):
                return _finished(rows, declared)
            stream = DeclaredStream(rows, declared)
            _require_usable(stream.schema, stream.remarks, declared)
            return stream

    def _read_source(
        self,
        project: str,
        declared: Dataset,
        base: Path,
        origins: Origins,
        folder: Spool | None,
    ) -> SourceRows | RowStream:
        scheme, _, rest = declared.source.partition(":")
        read, label = declared.read, declared.label
        readers: dict[str, Callable[[], SourceRows | RowStream]] = {
            "sklearn": lambda: read_bundled(rest),
            "files": lambda: read_files(rest, base, read, label, folder),
            "sql": lambda: read_query(rest, base, read, folder),
            "images": lambda: read_images(absolute(rest, base), declared, self._objects, folder),
            "from": lambda: read_derived(declared, origins, folder),
            "requests": lambda: read_requests(f"{project}.{rest}", self._request_logs),
        }
        return readers[scheme]()


@contextmanager
def _explained(declared: Dataset) -> Iterator[None]:
    """What readers raise, as SourceUnreadable that names the source."""
    try:
        yield
    except UnusableColumns as error:
        raise SourceUnreadable(f"{declared.source:.80}: {error}") from error
    except pa.ArrowException as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise SourceUnreadable(
            f"{declared.source:.80} cannot be read: {reason}; expected rows of plain types"
        ) from error


def _appended(
    rows: SourceRows | RowStream, more: SourceRows | RowStream, declared: Dataset
) -> SourceRows | RowStream:
    """The rows with those of the watched files, in the columns of the source."""
    both = AppendedStream(
        _as_stream(rows, declared, f"{declared.source:.80}"),
        _as_stream(more, declared, f"{declared.watch:.80}"),
        declared,
    )
    if isinstance(rows, SourceRows) and isinstance(more, SourceRows):
        table = pa.concat_tables(both.tables())
        return SourceRows(table, tuple(both.remarks), both.bookkeeping)
    return both


def _as_stream(rows: SourceRows | RowStream, declared: Dataset, where: str) -> RowStream:
    if not isinstance(rows, SourceRows):
        return UnpackedStream(rows)
    table, remarks = plain_as_declared(unpacked(rows.table), declared.read, where)
    return TableStream(table, (*rows.remarks, *remarks), rows.bookkeeping)


def _finished(rows: SourceRows, declared: Dataset) -> SourceRows:
    """The rows in the declared columns, with what there is to say of their texts."""
    rows = as_declared(rows, declared)
    require_distinct(rows.table.column_names)
    _require_usable(rows.table.schema, rows.remarks, declared)
    about = _remarks_on_texts(rows, declared)
    table, empty = with_types(rows.table, declared.label)
    return replace(rows, table=table, remarks=tuple(merged([*rows.remarks, *about, *empty])))


def _require_usable(schema: pa.Schema, remarks: Sequence[Remark], declared: Dataset) -> None:
    if not schema.names:
        why = "; ".join(map(str, merged(remarks)[:3])) or "none is kept"
        raise SourceUnreadable(f"{declared.source:.80} has no usable column: {why}")


def _remarks_on_texts(rows: SourceRows, declared: Dataset) -> list[Remark]:
    """What there is to say of numbers that are text, where the reader has said nothing."""
    table = rows.table
    said = {
        *types_of(declared.read, table.column_names),
        *(remark.subject for remark in rows.remarks),
    }
    texts = numbers_in_texts(table.schema, set(table.column_names) - said, declared)
    for name, numbers in texts.items():
        numbers.add(table.column(name))
    return [remark for numbers in texts.values() for remark in numbers.remarks(nowhere)]
