"""What is known of the rows of a version before they are written: the split of each, their hash
and profile, what is predicted and what is learned from.

The columns with a role are read first, because they decide the split, and then all rows once.
Beside the rows of a portion these columns are in memory, and a byte for the split of each row.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from engine.artefact import Column
from projects.dataset import LANGUAGE, Dataset
from projects.nearest import hint
from resources.datasets.arrow import pc
from resources.datasets.columns import UnusableColumns
from resources.datasets.content import ContentHash, TextHeads, text_columns, text_heads
from resources.datasets.features import Categories, feature_names, features_of
from resources.datasets.profiling import Profile, class_counts_of, profile_of, profile_of_parts
from resources.datasets.remarks import Remark, bounded, merged
from resources.datasets.splits import SPLITS, as_names, names_of, split_of
from resources.datasets.streams import ROWS_OF_PORTION, RowStream, release_memory
from resources.datasets.tasks import Decision, classes_of, decide
from resources.datasets.version import SplitContent
from resources.datasets.weights import require_weights

SPLIT = "split"
MOST_PARTS = 32
"""Profiles of portions that are in memory at once."""


class Surveyed(NamedTuple):
    """What is known of the rows."""

    version: str
    """Content hash of the rows with their splits."""
    schema: pa.Schema
    """Columns of the rows with that of the split."""
    heads: TextHeads
    codes: np.ndarray
    """Code of every row's split, int8."""
    decision: Decision | None
    columns: list[Column]
    classes: list[str]
    profile: Profile
    splits: dict[str, SplitContent]
    remarks: list[Remark]

    def rows(self, stream: RowStream) -> Iterator[pa.Table]:
        """The rows of the stream with their splits, in its portions."""
        return _with_splits(stream, self.codes)


def survey(stream: RowStream, declared: Dataset) -> Surveyed:
    """What is known of the rows after they were read twice, and their texts
    thrice.

    Raises UnusableColumns, SourceUnreadable or SourceUnreachable.
    """
    _require_columns(stream, declared)
    names = feature_names(stream.schema, declared, stream.bookkeeping)
    known = _RoleColumns.read(stream, declared)
    _require_texts(stream.schema, names, declared)
    texts = Categories(stream.schema, names)
    schema = stream.schema.append(pa.field(SPLIT, pa.string())).remove_metadata()
    heads = text_heads(_with_splits(stream, known.codes, text_columns(stream.schema)))
    content, parts = ContentHash(schema, heads), []
    for table in _with_splits(stream, known.codes):
        content.add(table)
        texts.add(table)
        parts.append(profile_of(table))
        if len(parts) > MOST_PARTS:
            parts = [profile_of_parts(parts)]
    version = content.hexdigest()
    release_memory()
    profile = profile_of_parts(parts).model_copy(update={"class_counts": known.class_counts()})
    return Surveyed(
        version=version,
        schema=schema,
        heads=heads,
        codes=known.codes,
        decision=known.decision,
        columns=features_of(stream.schema, names, declared, profile, texts),
        classes=classes_of(known.classes) if known.classes is not None else [],
        profile=profile,
        splits=known.splits(declared),
        remarks=bounded(merged(stream.remarks)),
    )


class _RoleColumns(NamedTuple):
    """What the columns with a role decide."""

    codes: np.ndarray
    decision: Decision | None
    classes: pa.ChunkedArray | None
    """The labels, where they are classes."""

    @classmethod
    def read(cls, stream: RowStream, declared: Dataset) -> "_RoleColumns":
        wanted = list(dict.fromkeys(declared.roles.values()))
        # Without a column with a role, the narrowest tells the number of rows.
        table = pa.concat_tables(list(stream.tables(wanted or stream.schema.names[:1])))
        by = declared.split.group or declared.split.time
        labels = table.column(declared.label) if declared.label else None
        decision = None
        if labels is not None:
            decision = decide(declared.label or "", labels, declared.task)
        if declared.weight:
            require_weights(declared.weight, table.column(declared.weight))
        task = decision.task if decision else None
        divided_by = table.column(by) if by else None
        codes = split_of(table.num_rows, labels, declared.split, task, divided_by)
        return cls(codes, decision, labels if task == "classification" else None)

    def class_counts(self) -> dict[str, int]:
        return class_counts_of(self.classes) if self.classes is not None else {}

    def splits(self, declared: Dataset) -> dict[str, SplitContent]:
        content = {}
        for name in names_of(declared.split):
            is_in = self.codes == SPLITS.index(name)
            counts = {}
            if self.classes is not None:
                counts = class_counts_of(pc.filter(self.classes, pa.array(is_in)))
            content[name] = SplitContent(rows=int(is_in.sum()), class_counts=counts)
        return content


def _with_splits(
    stream: RowStream, codes: np.ndarray, columns: list[str] | None = None
) -> Iterator[pa.Table]:
    """The rows with their splits; where no column is wanted, the splits alone."""
    if columns == []:
        for begin in range(0, len(codes), ROWS_OF_PORTION):
            yield pa.table({SPLIT: as_names(codes[begin : begin + ROWS_OF_PORTION])})
        return
    begin = 0
    for table in stream.tables(columns):
        part = codes[begin : begin + table.num_rows]
        begin += table.num_rows
        yield table.append_column(SPLIT, as_names(part))


def _require_texts(schema: pa.Schema, names: list[str], declared: Dataset) -> None:
    """Return when a task of texts has one to read. Raises UnusableColumns."""
    texts = [name for name in names if pa.types.is_string(schema.field(name).type)]
    if declared.task in LANGUAGE and not texts:
        raise UnusableColumns(
            f"the task is {declared.task}, and no column but the label is of text, expected one "
            f"that models read; the columns are {', '.join(schema.names)}"
        )


def _require_columns(stream: RowStream, declared: Dataset) -> None:
    names = stream.schema.names
    if SPLIT in (name.lower() for name in names):
        raise UnusableColumns(
            f"a column is named {SPLIT!r}, which the platform writes; rename it at the source or "
            f"declare read: {{drop: [{SPLIT}]}}"
        )
    for key, column in declared.roles.items():
        if column not in names:
            gone = next((r for r in stream.remarks if r.subject == column), None)
            why = f": {gone.reason}" if gone else hint(column, names)
            raise UnusableColumns(f"no column {column!r}, the declared {key}{why}")
