"""A small sample of the training rows of a version, in a file beside its data files.

What compares newer rows with those that were learned from reads it alone, whatever the size of the
version. Every training row has the same chance, and the same rows give the same sample.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.packed import width_of
from engine.rows import count_rows, dataset_of, read_batches
from resources.datasets.sources.spool import spool
from resources.datasets.splits import TRAIN
from resources.datasets.version import DatasetVersion
from resources.storage.object_store import ObjectStore

SEED = 0
MOST_ROWS = 10_000
MOST_CELLS, FEWEST_ROWS = 1_000_000, 100
"""Values of all columns; wide rows are fewer, but not fewer than these."""
MOST_BYTES = 32 << 20
"""In memory; rows of long texts are fewer."""
FILE = "sample.parquet"


class TrainingSample:
    """The sample of rows that are added one portion after the other."""

    def __init__(self, codes: np.ndarray, columns: int) -> None:
        """`codes` int8 [N] are the splits of all rows to come, which have so many columns."""
        self._codes = codes
        rows = int(np.count_nonzero(codes == TRAIN))
        most = max(FEWEST_ROWS, min(MOST_ROWS, MOST_CELLS // max(1, columns)))
        drawn = np.random.default_rng(SEED).choice(rows, min(rows, most), replace=False)
        # Ranks among the training rows in the order of the rows, each with its place in the draw.
        self._draw = np.argsort(drawn)
        self._ranks = drawn[self._draw]
        self._rows_seen = self._trained_seen = 0
        self._parts: list[tuple[pa.Table, np.ndarray]] = []
        self._bytes = 0

    def add(self, rows: pa.Table) -> None:
        """Take of the next rows those that are drawn."""
        begin = self._rows_seen
        self._rows_seen += rows.num_rows
        trained = np.flatnonzero(self._codes[begin : self._rows_seen] == TRAIN)
        first = self._trained_seen
        self._trained_seen += len(trained)
        low, high = np.searchsorted(self._ranks, [first, self._trained_seen])
        if low == high:
            return
        # Taken and not sliced, so that nothing of the portion stays in memory.
        part = rows.take(pa.array(trained[self._ranks[low:high] - first]))
        self._keep(part, self._draw[low:high])
        while self._bytes > MOST_BYTES and len(self._ranks) > 1:
            self._halve()

    def taken(self) -> pa.Table | None:
        """The sample, in the order of the rows; None where no row is learned from."""
        return pa.concat_tables([part for part, _ in self._parts]) if self._parts else None

    def _keep(self, part: pa.Table, draw: np.ndarray) -> None:
        self._parts.append((part, draw))
        self._bytes += part.nbytes

    def _halve(self) -> None:
        """Go on with the first half of the draw, which is a sample as well."""
        most = len(self._ranks) // 2
        is_first = self._draw < most
        self._ranks, self._draw = self._ranks[is_first], self._draw[is_first]
        parts, self._parts, self._bytes = self._parts, [], 0
        for part, draw in parts:
            self._keep(part.take(pa.array(np.flatnonzero(draw < most))), draw[draw < most])


def keep_sample(sample: TrainingSample, objects: ObjectStore, key: str) -> str | None:
    """Address of the sample's file, stored beside the data files of the version under the key; None
    where no row is learned from. Raises OSError."""
    import pyarrow.parquet as pq

    table = sample.taken()
    if table is None:
        return None
    with spool() as scratch:
        file = Path(scratch.folder(), FILE)
        # Statistics of columns cost more than the values where there are many columns.
        pq.write_table(table, file, write_statistics=False)
        return objects.put_file(file, f"{key}/{FILE}", is_spare=True)


def sample_of(version: DatasetVersion, objects: ObjectStore) -> list[str]:
    """The sample's file, or none where no row is learned from; of a version that was written
    without one the sample is drawn once and kept.

    Raises OSError or pyarrow.ArrowException.
    """
    if version.sample:
        return [version.sample]
    key = f"datasets/{version.project}/{version.name}/{version.version}"
    if not version.train:
        return []
    if not objects.has(f"{key}/{FILE}"):
        codes = np.broadcast_to(np.int8(TRAIN), count_rows(version.train))
        sample = TrainingSample(codes, width_of(dataset_of(version.train).schema))
        for batch in read_batches(version.train):
            sample.add(pa.Table.from_batches([batch]))
        keep_sample(sample, objects, key)
    return [objects.uri(f"{key}/{FILE}")]
