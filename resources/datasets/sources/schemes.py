"""The rows of any declared source, by the reader of its scheme."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from projects.schema import Dataset
from resources.datasets.columns import UnusableColumns, require_distinct, with_types
from resources.datasets.remarks import Remark, merged
from resources.datasets.sources.bundled import read_bundled
from resources.datasets.sources.declared_types import as_declared, plain_as_declared, types_of
from resources.datasets.sources.derived import Origins, read_derived
from resources.datasets.sources.images import read_images
from resources.datasets.sources.large import large_rows
from resources.datasets.sources.listing import absolute, watched_files
from resources.datasets.sources.queries import read_query
from resources.datasets.sources.request_log import read_requests
from resources.datasets.sources.rows import SourceRows, SourceUnreadable
from resources.datasets.sources.tables import read_files
from resources.datasets.sources.text_columns import Place, TextColumn, remarks_on_text
from resources.datasets.sources.union import FileTable, joined
from resources.datasets.streams import RowStream
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import RequestLogs

NO_ORIGINS = Origins()


class Sources:
    """Reads the source of a declared dataset."""

    def __init__(self, objects: ObjectStore, request_logs: RequestLogs) -> None:
        self._objects, self._request_logs = objects, request_logs

    def rows(
        self, project: str, declared: Dataset, base: Path, origins: Origins = NO_ORIGINS
    ) -> SourceRows | RowStream:
        """The rows of the declared source: large ones as a stream, where their kind has one, and
        others as `read` gives them. Raises SourceUnreadable or SourceUnreachable."""
        with _explained(declared):
            stream = large_rows(declared, base)
        return self.read(project, declared, base, origins) if stream is None else stream

    def read(
        self, project: str, declared: Dataset, base: Path, origins: Origins = NO_ORIGINS
    ) -> SourceRows:
        """All rows of the declared source and of what arrived in its watched folder, in plain
        types, and what was left out or converted.

        Relative paths start at `base`; a dataset that is made from others has origins. Raises
        SourceUnreadable, or SourceUnreachable for a bucket that does not answer.
        """
        with _explained(declared):
            rows = as_declared(self._read_all(project, declared, base, origins), declared)
            require_distinct(rows.table.column_names)
        if not rows.table.num_columns:
            why = "; ".join(map(str, merged(rows.remarks)[:3])) or "none is kept"
            raise SourceUnreadable(f"{declared.source:.80} has no usable column: {why}")
        about = _remarks_on_texts(rows, declared)
        table, empty = with_types(rows.table, declared.label)
        return replace(rows, table=table, remarks=tuple(merged([*rows.remarks, *about, *empty])))

    def _read_all(
        self, project: str, declared: Dataset, base: Path, origins: Origins
    ) -> SourceRows:
        rows = self._read_source(project, declared, base, origins)
        if declared.watch and watched_files(declared, base):
            more = read_files(declared.watch, base, declared.read, declared.label)
            rows = _appended(rows, more, declared)
        if rows.table.num_rows == 0:
            raise SourceUnreadable(f"{declared.source} has no rows; expected at least one")
        return rows

    def _read_source(
        self, project: str, declared: Dataset, base: Path, origins: Origins
    ) -> SourceRows:
        scheme, _, rest = declared.source.partition(":")
        readers: dict[str, Callable[[], SourceRows]] = {
            "sklearn": lambda: read_bundled(rest),
            "files": lambda: read_files(rest, base, declared.read, declared.label),
            "sql": lambda: read_query(rest, base, declared.read),
            "images": lambda: read_images(absolute(rest, base), declared.image, self._objects),
            "from": lambda: read_derived(declared, origins),
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


def _appended(rows: SourceRows, more: SourceRows, declared: Dataset) -> SourceRows:
    """The rows with those of the watched files, in the columns of the source."""
    table, remarks = plain_as_declared(rows.table, declared.read, f"{declared.source:.80}")
    known, missing = table.column_names, set(table.column_names) - set(more.table.column_names)
    if missing:
        raise SourceUnreadable(
            f"the files watched in {declared.watch} lack {', '.join(sorted(missing)[:8])}; "
            f"expected {', '.join(known[:8])}{', ...' * (len(known) > 8)}"
        )
    reason = f"the source {declared.source:.80} has no such column, and rows watched for it do"
    unknown = [
        Remark(subject=name, action="left_out", count=more.table.num_rows, reason=reason)
        for name in more.table.column_names
        if name not in known
    ]
    watched = FileTable(f"watched {declared.watch}", more.table.select(known))
    whole, _ = joined([FileTable(declared.source, table), watched])
    return rows.of(whole, *remarks, *more.remarks, *unknown)


def _remarks_on_texts(rows: SourceRows, declared: Dataset) -> list[Remark]:
    """What there is to say of numbers that are text, where the reader has said nothing."""
    if declared.source.startswith("images:"):
        return []
    table = rows.table
    said = {
        *types_of(declared.read, table.column_names),
        *(remark.subject for remark in rows.remarks),
    }
    return [
        remark
        for name, column in zip(table.column_names, table.columns, strict=True)
        if pa.types.is_string(column.type) and name not in said
        for remark in remarks_on_text(
            TextColumn(name, column, name == declared.label, lambda _: Place(None, None))
        )
    ]
