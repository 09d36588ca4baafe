"""The adapter to dataset versions: immutable Delta tables named by the hash of their content.

timeout: the object store's.
retry: deltalake repeats failed S3 calls.
cancel: an interrupted write leaves files without a version; the next write ignores them.
duplicate: the same bytes have the same name, and nothing is written twice; what is recorded of
    them is of the declaration they were last made by, and kept for each other one.
partial write: a version exists once its `version.json`, written last and atomically, does.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from engine.artefact import Column
from engine.bucket import BucketSettings
from projects.dataset import Dataset, Task
from projects.nearest import hint
from resources.datasets.arrow import pc
from resources.datasets.columns import UnusableColumns, plain, with_types
from resources.datasets.features import features_of
from resources.datasets.profiling import class_counts_of, profile_of
from resources.datasets.remarks import Remark, bounded, merged
from resources.datasets.sources.rows import SourceRows
from resources.datasets.splits import SPLITS, as_names, names_of, split_of
from resources.datasets.tasks import Decision, classes_of, decide
from resources.datasets.version import DatasetVersion, SplitContent, declaration_digest
from resources.datasets.weights import require_weights
from resources.storage.object_store import ObjectMissing, ObjectStore

ROWS_AT_ONCE = 65_536
SPLIT = "split"
NUMERIC = ("number", "integer", "boolean")
"""Kinds of columns that trainers of numbers alone learn from."""
WIDE = 1_000
"""Columns above which files are written without dictionaries and statistics."""


class DatasetStore:
    """Writes and reads dataset versions."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def write(
        self,
        project: str,
        name: str,
        declared: Dataset,
        rows: SourceRows | pa.Table,
        code_revision: str = "",
    ) -> DatasetVersion:
        """The version of these rows; its files are written only if no version has the content.

        Raises UnusableColumns or OSError.
        """
        rows = rows if isinstance(rows, SourceRows) else SourceRows(rows)
        try:
            prepared = _prepared(rows, declared)
        except UnusableColumns as error:
            raise UnusableColumns(f"{declared.source:.80}: {error}") from error
        version = content_hash(prepared.table)
        key = f"datasets/{project}/{name}/{version}"
        known = self._recorded(key)
        written = _described(prepared, declared, known or self._files(key, prepared.table))
        written = written.model_copy(
            update={
                "project": project,
                "name": name,
                "version": version,
                "uri": self._objects.uri(key),
                "code_revision": code_revision,
            }
        )
        return self._record(key, written, known)

    def read(
        self, project: str, name: str, version: str, declaration: str | None = None
    ) -> DatasetVersion:
        """The version as the declaration of that digest recorded it, or else the one that made it
        last. Raises ObjectMissing."""
        key = f"datasets/{project}/{name}/{version}"
        recorded = self._recorded(key)
        if recorded is None:
            raise ObjectMissing(
                f"dataset {project}/{name} has no version {version}; materialise it again"
            )
        if not declaration or declaration == recorded.declaration_digest:
            return recorded
        return self._read(_record_key(key, declaration)) or recorded

    def _recorded(self, key: str) -> DatasetVersion | None:
        return self._read(f"{key}/version.json")

    def _read(self, key: str) -> DatasetVersion | None:
        try:
            return DatasetVersion.model_validate_json(self._objects.get_text(key))
        except ObjectMissing:
            return None

    def _record(
        self, key: str, version: DatasetVersion, known: DatasetVersion | None
    ) -> DatasetVersion:
        """The record, written unless it says what is known but for the revision of the code."""
        if known is not None:
            if version.model_copy(update={"code_revision": known.code_revision}) == known:
                return known
            # What was learned by another declaration is read as that declaration had it.
            other = _record_key(key, known.declaration_digest)
            # Before the next write, so that a crash between the two loses no record.
            self._objects.put_text(other, known.model_dump_json(indent=2))
        self._objects.put_text(f"{key}/version.json", version.model_dump_json(indent=2))
        return version

    def _files(self, key: str, table: pa.Table) -> "_Files":
        """The data files of the table now stored under the key."""
        from deltalake import DeltaTable, write_deltalake

        uri = self._objects.uri(key)
        write_deltalake(
            uri,
            table,
            partition_by=[SPLIT],
            # A write that was interrupted may have left a table here.
            mode="overwrite",
            storage_options=BucketSettings().delta_options or None,
            **_of_wide_table() if table.num_columns > WIDE else {},
        )
        actions = pa.table(DeltaTable(uri).get_add_actions(flatten=True)).to_pylist()
        files = sorted((f"{uri}/{a['path']}", a[f"partition.{SPLIT}"]) for a in actions)
        return _Files(
            of_split={name: [p for p, split in files if split == name] for name in SPLITS},
            bytes=sum(action["size_bytes"] for action in actions),
        )


class _Files(NamedTuple):
    """Where the rows of a version lie."""

    of_split: dict[str, list[str]]
    bytes: int


def _of_wide_table() -> dict[str, Any]:
    """Dictionaries and statistics of every one of thousands of columns cost more than values."""
    from deltalake import ColumnProperties, WriterProperties

    bare = ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE")
    return {
        "configuration": {"delta.dataSkippingNumIndexedCols": "0"},
        "writer_properties": WriterProperties(default_column_properties=bare),
    }


def _record_key(key: str, declaration: str) -> str:
    return f"{key}/declarations/{declaration or 'unknown'}.json"


def content_hash(table: pa.Table) -> str:
    """SHA-256 over the Arrow IPC stream of the rows in batches of 65,536.

    Equal for equal rows, names and types, however the table is chunked in memory.
    """
    # Metadata, such as that of pandas, is not part of the content.
    bare = table.replace_schema_metadata(None)
    # Taking every row writes new buffers: old ones hold arbitrary bytes under nulls.
    rows = bare.take(pa.array(np.arange(bare.num_rows))).combine_chunks()
    sink = _Hashing()
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), rows.schema) as writer:
        writer.write_table(rows, max_chunksize=ROWS_AT_ONCE)
    return sink.digest.hexdigest()


class _Hashing:
    """A file that only hashes what is written to it."""

    closed = False

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return len(data)

    def writable(self) -> bool:
        return True

    def flush(self) -> None: ...

    def close(self) -> None: ...


class _Prepared(NamedTuple):
    """Rows as they are written, and what the label is for."""

    table: pa.Table
    remarks: list[Remark]
    decision: Decision | None
    columns: list[Column]

    @property
    def task(self) -> Task | None:
        return self.decision.task if self.decision else None


def _prepared(rows: SourceRows, declared: Dataset) -> _Prepared:
    table, remarks = plain(rows.table)
    table, empty = with_types(table, declared.label)
    remarks = bounded(merged([*rows.remarks, *remarks, *empty]))
    names = table.column_names
    if SPLIT in (name.lower() for name in names):
        raise UnusableColumns(
            f"a column is named {SPLIT!r}, which the platform writes; rename it at the source or "
            f"declare read: {{drop: [{SPLIT}]}}"
        )
    _require_roles(declared, names, remarks)
    labels = table.column(declared.label) if declared.label else None
    decision = None
    if labels is not None:
        decision = decide(declared.label or "", labels, declared.task)
    if declared.weight:
        require_weights(declared.weight, table.column(declared.weight))
    columns = features_of(table, declared, rows.bookkeeping)
    by = declared.split.group or declared.split.time
    split = split_of(
        table.num_rows,
        labels,
        declared.split,
        decision and decision.task,
        table.column(by) if by else None,
    )
    return _Prepared(table.append_column(SPLIT, as_names(split)), remarks, decision, columns)


def _require_roles(declared: Dataset, names: list[str], remarks: list[Remark]) -> None:
    for key, column in declared.roles.items():
        if column not in names:
            gone = next((r for r in remarks if r.subject == column), None)
            why = f": {gone.reason}" if gone else hint(column, names)
            raise UnusableColumns(f"no column {column!r}, the declared {key}{why}")


def _described(
    prepared: _Prepared, declared: Dataset, files: "_Files | DatasetVersion"
) -> DatasetVersion:
    table, decision = prepared.table, prepared.decision
    class_label = declared.label if prepared.task == "classification" else None
    return DatasetVersion(
        project="",
        name="",
        version="",
        uri="",
        **files.of_split,
        features=[c.name for c in prepared.columns if c.kind in NUMERIC],
        columns=prepared.columns,
        label=declared.label,
        weight=declared.weight,
        classes=classes_of(table.column(class_label)) if class_label else [],
        bytes=files.bytes,
        profile=profile_of(table, class_label),
        task=prepared.task,
        task_reason=decision.reason if decision else "",
        splits=dict(_splits(table, class_label, names_of(declared.split))),
        remarks=prepared.remarks,
        source=declared.source,
        declaration_digest=declaration_digest(declared),
    )


def _splits(
    table: pa.Table, class_label: str | None, names: list[str]
) -> Iterator[tuple[str, SplitContent]]:
    for name in names:
        rows = table.select([SPLIT, *([class_label] if class_label else [])])
        rows = rows.filter(pc.equal(rows.column(SPLIT), name))
        counts = class_counts_of(rows.column(class_label)) if class_label else {}
        yield name, SplitContent(rows=rows.num_rows, class_counts=counts)
