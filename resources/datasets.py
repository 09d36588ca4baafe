"""The door to dataset versions: immutable Delta tables named by the hash of their content.

timeout: the object store's.
retry: deltalake repeats failed S3 calls.
cancel: an interrupted write leaves files without a version; the next write ignores them.
duplicate: the same bytes have the same name, and nothing is written twice.
partial write: a version exists once its `version.json`, written last and atomically, does.
"""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa

from engine.bucket import BucketSettings
from engine.protocol import Contract
from projects.schema import Dataset, Split
from resources.columns import is_number, plain
from resources.object_store import ObjectMissing, ObjectStore
from resources.profiling import Profile, profile_of

ROWS_AT_ONCE = 65_536
MOST_CLASSES = 1_000
SPLIT = "split"


class DatasetVersion(Contract):
    """One immutable version of a dataset."""

    project: str
    name: str
    version: str
    """SHA-256 over the Arrow IPC stream of the rows, the split included."""
    uri: str
    train: list[str]
    test: list[str]
    """Parquet files of each split."""
    features: list[str]
    label: str | None
    classes: list[str]
    bytes: int
    profile: Profile

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.profile.rows


class UnusableColumns(Exception):
    """The rows do not have the columns that the declaration names."""


class DatasetStore:
    """Writes and reads dataset versions."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def write(self, project: str, name: str, declared: Dataset, table: pa.Table) -> DatasetVersion:
        """The version of these rows; written only if no version has the same content.

        Raises UnusableColumns or OSError.
        """
        table = _prepared(table, declared)
        version = content_hash(table)
        key = f"datasets/{project}/{name}/{version}"
        if self._objects.has(f"{key}/version.json"):
            return self.read(project, name, version)
        files = self._write_delta(key, table)
        made = DatasetVersion(
            project=project,
            name=name,
            version=version,
            uri=self._objects.uri(key),
            train=[path for path, split, _ in files if split == "train"],
            test=[path for path, split, _ in files if split == "test"],
            features=_features(table, declared.label),
            label=declared.label,
            classes=_classes(table, declared.label),
            bytes=sum(size for _, _, size in files),
            profile=profile_of(table, declared.label),
        )
        self._objects.put_text(f"{key}/version.json", made.model_dump_json(indent=2))
        return made

    def read(self, project: str, name: str, version: str) -> DatasetVersion:
        """The version. Raises ObjectMissing."""
        key = f"datasets/{project}/{name}/{version}/version.json"
        try:
            return DatasetVersion.model_validate_json(self._objects.get_text(key))
        except ObjectMissing:
            raise ObjectMissing(
                f"dataset {project}/{name} has no version {version}; materialise it again"
            ) from None

    def _write_delta(self, key: str, table: pa.Table) -> list[tuple[str, str, int]]:
        """Path, split and bytes of the data files of the table now stored under the key."""
        from deltalake import DeltaTable, write_deltalake

        uri = self._objects.uri(key)
        options = BucketSettings().delta_options or None
        write_deltalake(uri, table, partition_by=[SPLIT], mode="overwrite", storage_options=options)
        actions = pa.table(DeltaTable(uri).get_add_actions(flatten=True)).to_pylist()
        return sorted(
            (f"{uri}/{action['path']}", action[f"partition.{SPLIT}"], action["size_bytes"])
            for action in actions
        )


def content_hash(table: pa.Table) -> str:
    """SHA-256 over the Arrow IPC stream of the rows in batches of 65,536.

    Equal for equal rows, names and types, however the table is chunked in memory.
    """
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


def _prepared(table: pa.Table, declared: Dataset) -> pa.Table:
    if SPLIT in table.column_names:
        raise UnusableColumns(f"a column is named {SPLIT!r}, which the platform writes; rename it")
    if declared.label is not None and declared.label not in table.column_names:
        from projects.nearest import hint

        near = hint(declared.label, table.column_names)
        raise UnusableColumns(f"no column {declared.label!r}, the declared label{near}")
    table = plain(table)
    labels = table.column(declared.label) if declared.label else None
    return table.append_column(SPLIT, pa.array(split_of(table.num_rows, labels, declared.split)))


def split_of(rows: int, labels: pa.ChunkedArray | None, split: Split) -> list[str]:
    """`train` or `test` for every row: a seeded draw, stratified by a discrete label."""
    generator = np.random.default_rng(split.seed)
    held_out = np.zeros(rows, bool)
    strata = [np.arange(rows)]
    if labels is not None and _is_discrete(labels):
        codes = labels.combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy()
        strata = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    for members in strata:
        drawn = generator.permutation(members)[: round(split.test * len(members))]
        held_out[drawn] = True
    return np.where(held_out, "test", "train").tolist()


def _is_discrete(labels: pa.ChunkedArray) -> bool:
    if pa.types.is_floating(labels.type):
        return False
    return len(labels.unique()) <= MOST_CLASSES


def _classes(table: pa.Table, label: str | None) -> list[str]:
    if label is None or not _is_discrete(table.column(label)):
        return []
    values = [v for v in table.column(label).unique().to_pylist() if v is not None]
    return [str(value) for value in sorted(values)]


def _features(table: pa.Table, label: str | None) -> list[str]:
    return [f.name for f in table.schema if is_number(f.type) and f.name not in (label, SPLIT)]
