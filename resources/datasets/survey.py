"""One pass over all rows of a version: they are hashed in blocks, profiled and kept, and the
columns that models learn from are found.

The columns with a role are read before, because they decide the split. Beside the rows of a block
these columns are in memory, and a byte for the split of each row.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from engine.artefact import Column, SplitContent
from engine.packed import unpacked_schema
from projects.dataset import LANGUAGE, Dataset
from projects.nearest import hint
from resources.datasets.blocks import blocks, digest_of_block, digest_of_version
from resources.datasets.columns import UnusableColumns
from resources.datasets.features import Categories, feature_names, features_of
from resources.datasets.profiling import Profile, profile_of, profile_of_parts
from resources.datasets.remarks import Remark, bounded, merged
from resources.datasets.roles import Roles
from resources.datasets.sample import TrainingSample
from resources.datasets.sources.rows import SourceUnreadable
from resources.datasets.streams import RowStream, release_memory
from resources.datasets.tasks import Decision, classes_of

MOST_PARTS = 32
"""Profiles of blocks that are in memory at once."""
Keep = Callable[[str, pa.Table, np.ndarray], None]
"""Takes the hash and the rows of a block, and the codes of their splits."""


class Surveyed(NamedTuple):
    """What is known of the rows."""

    version: str
    """Content hash of the rows with their splits."""
    decision: Decision | None
    columns: list[Column]
    classes: list[str]
    profile: Profile
    splits: dict[str, SplitContent]
    sample: TrainingSample
    remarks: list[Remark]


def survey(stream: RowStream, declared: Dataset, keep: Keep) -> Surveyed:
    """What is known of the rows after they were read once, and the columns with a role before; each
    block of them is given to `keep`.

    Raises UnusableColumns, SourceUnreadable or SourceUnreachable, and what `keep` raises.
    """
    _require_columns(stream, declared)
    schema = unpacked_schema(stream.schema)
    names = feature_names(schema, declared, stream.bookkeeping)
    _require_texts(schema, names, declared)
    roles = Roles.read(stream, declared)
    look = _Look(schema, names, roles)
    for rows in blocks(stream.tables()):
        if not stream.is_still and not roles.are_of(rows, look.rows):
            raise _changed(declared)
        keep(*look.at(rows))
    if look.rows != len(roles.codes):
        raise _changed(declared)
    release_memory()
    profile = look.profile().model_copy(update={"class_counts": roles.class_counts()})
    return Surveyed(
        version=digest_of_version(stream.schema, look.digests),
        decision=roles.decision,
        columns=features_of(schema, names, declared, profile, look.texts),
        classes=classes_of(roles.classes) if roles.classes is not None else [],
        profile=profile,
        splits=roles.splits(declared),
        sample=look.sample,
        remarks=bounded(merged(stream.remarks)),
    )


class _Look:
    """What is seen of the rows, a block at a time."""

    def __init__(self, schema: pa.Schema, features: list[str], roles: Roles) -> None:
        self.rows, self.digests = 0, list[str]()
        self.texts = Categories(schema, features)
        self.sample = TrainingSample(roles.codes, len(schema))
        self._schema, self._codes = schema, roles.codes
        self._parts: list[Profile] = []

    def at(self, rows: pa.Table) -> tuple[str, pa.Table, np.ndarray]:
        """The next block with its hash, and the codes of its rows."""
        codes = self._codes[self.rows : self.rows + rows.num_rows]
        self.digests.append(digest_of_block(rows, codes, len(self.digests)))
        self.rows += rows.num_rows
        self.texts.add(rows)
        self.sample.add(rows)
        self._parts.append(profile_of(rows))
        if len(self._parts) > MOST_PARTS:
            self._parts = [self.profile()]
        return self.digests[-1], rows, codes

    def profile(self) -> Profile:
        """The profile of all rows that were seen."""
        # A version without rows has a profile too.
        return profile_of_parts(self._parts or [profile_of(self._schema.empty_table())])


def _changed(declared: Dataset) -> SourceUnreadable:
    return SourceUnreadable(
        f"{declared.source:.80} changed while it was read; materialise the dataset again when "
        "nothing writes to it"
    )


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
    for key, column in declared.roles.items():
        if column not in names:
            gone = next((r for r in stream.remarks if r.subject == column), None)
            why = f": {gone.reason}" if gone else hint(column, names)
            raise UnusableColumns(f"no column {column!r}, the declared {key}{why}")
