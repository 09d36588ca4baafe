"""A dataset version of 10^7 x 20 numbers: seconds and peak memory, against DuckDB and pyarrow by
hand. Each contender is a process of its own; `python -m benchmarks.large_dataset WHO FOLDER`."""

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.measure import in_turns, show

ROWS, COLUMNS, AT_ONCE = 10_000_000, 20, 500_000
REPEATS = 1
MIB = 1024


def main() -> None:
    """Print seconds and peak memory of every contender."""
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        folder = Path(name)
        _make(folder / "rows.parquet")
        peaks: dict[str, list[float]] = {"by hand": [], "platform": []}

        def measured(who: str) -> float:
            command = [sys.executable, "-m", "benchmarks.large_dataset", who, str(folder)]
            answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            peaks[who].append(answer["mib"])
            return answer["seconds"]

        seconds = in_turns({who: lambda w=who: measured(w) for who in peaks}, REPEATS)
    title = f"{ROWS:.0e} x {COLUMNS} numbers to a version"
    show(title, "s", seconds, "by hand", "<= 1.5")
    show(f"{title}, peak memory", "MiB", peaks, "by hand", "< 2048 MiB")


def _make(file: Path) -> None:
    import pyarrow.parquet as pq

    generator = np.random.default_rng(0)
    names = [f"x{i}" for i in range(COLUMNS - 1)]
    schema = pa.schema([*((n, pa.float64()) for n in names), ("label", pa.int64())])
    with pq.ParquetWriter(file, schema) as writer:
        for _ in range(0, ROWS, AT_ONCE):
            columns = {name: generator.normal(size=AT_ONCE) for name in names}
            labels = generator.integers(0, 3, AT_ONCE)
            writer.write_table(pa.table({**columns, "label": labels}))


def by_hand(folder: Path) -> None:
    """Read, draw a split, hash and write the Parquet partitions, a portion at a time."""
    import duckdb
    import pyarrow.parquet as pq

    generator, digest = np.random.default_rng(0), hashlib.sha256()
    writers: dict[bool, pq.ParquetWriter] = {}
    with duckdb.connect() as connection:
        rows = connection.read_parquet(str(folder / "rows.parquet")).to_arrow_reader(262_144)
        for table in _tables(rows):
            held_out = generator.random(table.num_rows) < 0.25
            for column in table.columns:
                for chunk in column.chunks:
                    digest.update(chunk.buffers()[1])
            for is_test in (False, True):
                part = table.filter(pa.array(held_out == is_test))
                if is_test not in writers:
                    writers[is_test] = pq.ParquetWriter(folder / f"{is_test}.parquet", part.schema)
                writers[is_test].write_table(part)
    for writer in writers.values():
        writer.close()


def _tables(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    for batch in reader:
        yield pa.Table.from_batches([batch])


def platform(folder: Path) -> None:
    """A version by the source and the store."""
    from projects.schema import Dataset
    from resources.datasets.sources import Sources
    from resources.datasets.store import DatasetStore
    from resources.storage.object_store import ObjectStore
    from resources.storage.request_logs import RequestLogs

    with tempfile.TemporaryDirectory(dir=folder) as name:
        objects = ObjectStore(str(Path(name, "objects")), Path(name, "cache"))
        declared = Dataset(source="files:rows.parquet", label="label")
        sources = Sources(objects, RequestLogs(Path(name, "requests"), objects))
        with sources.rows("bench", declared, folder) as rows:
            DatasetStore(objects).write("bench", "rows", declared, rows)


def contend(who: str, folder: Path) -> None:
    """Print seconds and peak memory of one contender as JSON."""
    began = time.monotonic()
    {"by hand": by_hand, "platform": platform}[who](folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
    print(json.dumps({"seconds": time.monotonic() - began, "mib": peak}))


if __name__ == "__main__":
    contend(sys.argv[1], Path(sys.argv[2]))
