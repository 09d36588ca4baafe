"""The adapter to dataset versions: immutable lists of Parquet files, named by the hash of their
content. Versions of one dataset share the files of the rows that they have in common.

timeout, retry: the object store's.
cancel: an interrupted write, and a refused one, leaves files that no version names; the next write
    takes those that it needs, and `unreferenced` lists the rest.
duplicate: the same bytes have the same name, and nothing is written twice; what is recorded of
    them is of the declaration they were last made by, and kept for each other one.
partial write: a version exists once its `version.json`, written last and atomically, does.
"""

import pyarrow as pa

from projects.dataset import Dataset
from resources.datasets.columns import UnusableColumns, plain, with_types
from resources.datasets.fragments import Fragments, fragments_of, unreferenced
from resources.datasets.sample import keep_sample, sample_of
from resources.datasets.sources.rows import SourceRows
from resources.datasets.streams import RowStream, TableStream
from resources.datasets.survey import Surveyed, survey
from resources.datasets.version import DatasetVersion, declaration_digest
from resources.storage.object_store import ObjectMissing, ObjectStore

NUMERIC = ("number", "integer", "boolean")
"""Kinds of columns that trainers of numbers alone learn from."""


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
        """The version of these rows; of its files those are written that no version has yet.

        Raises UnusableColumns, SourceUnreadable or OSError.
        """
        dataset = f"datasets/{project}/{name}"
        with fragments_of(self._objects, dataset) as fragments:
            try:
                stream = _as_stream(rows, declared)
                surveyed = survey(stream, declared, fragments.keep)
            except UnusableColumns as error:
                raise UnusableColumns(f"{declared.source:.80}: {error}") from error
            written = _described(surveyed, declared, fragments)
        key = f"{dataset}/{surveyed.version}"
        known = self._recorded(key)
        sample = known.sample if known else keep_sample(surveyed.sample, self._objects, key)
        written = written.model_copy(
            update={
                "project": project,
                "name": name,
                "uri": self._objects.uri(key),
                "sample": sample,
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

    def unreferenced(
        self, project: str, name: str, older_than_s: float, going: frozenset[str] = frozenset()
    ) -> list[str]:
        """Keys of data files that no version of the dataset names but those that are `going`, and
        that were written so long ago. Raises OSError, or ValueError for a record that cannot be
        read."""
        return unreferenced(self._objects, f"datasets/{project}/{name}", older_than_s, going)

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


def _described(surveyed: Surveyed, declared: Dataset, files: Fragments) -> DatasetVersion:
    decision, of_split = surveyed.decision, files.of_split()
    return DatasetVersion(
        project="",
        name="",
        version=surveyed.version,
        uri="",
        train=of_split["train"],
        test=of_split["test"],
        validation=of_split["validation"],
        features=[c.name for c in surveyed.columns if c.kind in NUMERIC],
        columns=surveyed.columns,
        label=declared.label,
        weight=declared.weight,
        classes=surveyed.classes,
        bytes=files.size(),
        profile=surveyed.profile,
        task=decision.task if decision else None,
        task_reason=decision.reason if decision else "",
        splits=surveyed.splits,
        remarks=surveyed.remarks,
        source=declared.source,
        declaration_digest=declaration_digest(declared),
    )
