"""The adapter to dataset versions: immutable Delta tables named by the hash of their content.

timeout: the object store's.
retry: deltalake repeats failed S3 calls.
cancel: an interrupted write leaves files without a version; the next write ignores them.
duplicate: the same bytes have the same name, and nothing is written twice; what is recorded of
    them is of the declaration they were last made by, and kept for each other one.
partial write: a version exists once its `version.json`, written last and atomically, does.
"""

from typing import NamedTuple

import pyarrow as pa

from projects.dataset import Dataset
from resources.datasets.columns import UnusableColumns, plain, with_types
from resources.datasets.content import ContentHash
from resources.datasets.sample import TrainingSample, keep_sample, sample_of
from resources.datasets.sources.rows import SourceRows, SourceUnreadable
from resources.datasets.splits import SPLITS
from resources.datasets.streams import RowStream, TableStream, portions
from resources.datasets.survey import Surveyed, survey
from resources.datasets.table_files import table_files
from resources.datasets.version import DatasetVersion, declaration_digest
from resources.storage.object_store import ObjectMissing, ObjectStore

NUMERIC = ("number", "integer", "boolean")
"""Kinds of columns that trainers of numbers alone learn from."""
PART_BYTES = 32 << 20
"""Rows that are written at once, in memory."""


class DatasetStore:
    """Writes and reads dataset versions."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def write(
        self,
        project: str,
        name: str,
        declared: Dataset,
        rows: SourceRows | RowStream | pa.Table,
        code_revision: str = "",
    ) -> DatasetVersion:
        """The version of these rows; its files are written only if no version has the content.

        Raises UnusableColumns, SourceUnreadable or OSError.
        """
        try:
            stream = _as_stream(rows, declared)
            prepared = survey(stream, declared)
        except UnusableColumns as error:
            raise UnusableColumns(f"{declared.source:.80}: {error}") from error
        version = prepared.version
        key = f"datasets/{project}/{name}/{version}"
        known = self._recorded(key)
        files = known or self._files(key, stream, prepared, declared.source)
        written = _described(prepared, declared, files)
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

    def sample(self, version: DatasetVersion) -> list[str]:
        """The file with a random sample of the version's training rows, or none where no row is
        learned from. Raises OSError or pyarrow.ArrowException."""
        return sample_of(version, self._objects)

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

    def _files(self, key: str, stream: RowStream, prepared: Surveyed, source: str) -> "_Files":
        """The data files of the rows now stored under the key."""
        read = ContentHash(prepared.schema, prepared.heads)
        sample = TrainingSample(prepared.codes, len(stream.schema))
        with table_files(self._objects, key, prepared.schema) as files:
            for part in portions(prepared.rows(stream), PART_BYTES):
                if not stream.is_still:
                    read.add(part)
                files.add(part)
                sample.add(part)
            if not stream.is_still and read.hexdigest() != prepared.version:
                raise SourceUnreadable(
                    f"{source:.80} changed while it was read; materialise the dataset again when "
                    "nothing writes to it"
                )
            done = files.committed()
        uri = self._objects.uri(key)
        return _Files(
            of_split={
                name: [f"{uri}/{f.path}" for f in done if f.split == name] for name in SPLITS
            },
            bytes=sum(file.size for file in done),
            sample=keep_sample(sample, self._objects, key),
        )


class _Files(NamedTuple):
    """Where the rows of a version lie."""

    of_split: dict[str, list[str]]
    bytes: int
    sample: str | None


def _record_key(key: str, declaration: str) -> str:
    return f"{key}/declarations/{declaration or 'unknown'}.json"


def _as_stream(rows: SourceRows | RowStream | pa.Table, declared: Dataset) -> RowStream:
    if isinstance(rows, pa.Table):
        rows = SourceRows(rows)
    if not isinstance(rows, SourceRows):
        return rows
    table, remarks = plain(rows.table)
    table, empty = with_types(table, declared.label)
    return TableStream(table, [*rows.remarks, *remarks, *empty], rows.bookkeeping)


def _described(
    prepared: Surveyed, declared: Dataset, files: "_Files | DatasetVersion"
) -> DatasetVersion:
    decision = prepared.decision
    return DatasetVersion(
        project="",
        name="",
        version="",
        uri="",
        train=files.of_split["train"],
        test=files.of_split["test"],
        validation=files.of_split["validation"],
        sample=files.sample,
        features=[c.name for c in prepared.columns if c.kind in NUMERIC],
        columns=prepared.columns,
        label=declared.label,
        weight=declared.weight,
        classes=prepared.classes,
        bytes=files.bytes,
        profile=prepared.profile,
        task=decision.task if decision else None,
        task_reason=decision.reason if decision else "",
        splits=prepared.splits,
        remarks=prepared.remarks,
        source=declared.source,
        declaration_digest=declaration_digest(declared),
    )
