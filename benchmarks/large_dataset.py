"""Dataset versions of 10^5, 10^6 and 10^7 rows of 20 numbers: processor time and peak memory,
against DuckDB and pyarrow by hand; and of 10^6 rows with 1 % more. Each contender is a process of
its own; `python -m benchmarks.large_dataset WHO FOLDER`."""

import hashlib
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import console, in_turns, show

SIZES = (100_000, 1_000_000, 10_000_000)
COLUMNS, AT_ONCE = 20, 100_000
REPEATS = {SIZES[0]: 3, SIZES[1]: 3, SIZES[2]: 1}
APPENDED = 1_000_000
MIB = 1024


def main() -> None:
    """Print processor time and peak memory of every contender."""
    medians: dict[str, list[float]] = {"by hand": [], "platform": []}
    for rows in SIZES:
        for who, seconds in _compared(rows).items():
            medians[who].append(statistics.median(seconds))
    for who, seconds in medians.items():
        exponents = [math.log10(more / less) for less, more in pairwise(seconds)]
        console.print(f"{who}: exponent of growth {', '.join(f'{e:.2f}' for e in exponents)}")
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        answer = _measured("appended", Path(name))
    title = f"{APPENDED:.0e} rows, and then 1 % more"
    seconds = {who: [answer[who]["seconds"]] for who in ("first", "appended")}
    show(title, "CPU s", seconds, "first", "<= 0.5")
    written = {who: [answer[who]["written_mib"]] for who in ("first", "appended")}
    show(f"{title}, written", "MiB", written, "first", "the last blocks")


def _compared(rows: int) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        folder = Path(name)
        _make(folder / "rows.parquet", rows)
        peaks: dict[str, list[float]] = {"by hand": [], "platform": []}

        def measured(who: str) -> float:
            answer = _measured(who, folder)
            peaks[who].append(answer["mib"])
            return answer["seconds"]

        contenders = {who: lambda w=who: measured(w) for who in peaks}
        seconds = in_turns(contenders, REPEATS[rows])
    title = f"{rows:.0e} x {COLUMNS} numbers to a version"
    show(title, "CPU s", seconds, "by hand", "<= 1.5")
    show(f"{title}, peak memory", "MiB", peaks, "by hand", "< 2048 MiB")
    return seconds


def _measured(who: str, folder: Path) -> dict:
    command = [sys.executable, "-m", "benchmarks.large_dataset", who, str(folder)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def _make(file: Path, rows: int, seed: int = 0) -> None:
    generator = np.random.default_rng(seed)
    names = [f"x{i}" for i in range(COLUMNS - 1)]
    schema = pa.schema([*((n, pa.float64()) for n in names), ("label", pa.int64())])
    with pq.ParquetWriter(file, schema) as writer:
        for begin in range(0, rows, AT_ONCE):
            count = min(AT_ONCE, rows - begin)
            columns = {name: generator.normal(size=count) for name in names}
            labels = generator.integers(0, 3, count)
            writer.write_table(pa.table({**columns, "label": labels}))


def by_hand(folder: Path) -> Callable[[], object]:
    """What reads, draws a split, hashes and writes the Parquet partitions, a portion at a time."""
    return lambda: _by_hand(folder)


def _by_hand(folder: Path) -> None:
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


def platform(folder: Path) -> Callable[[], object]:
    """What makes a version by the source and the store."""
    make = _maker(folder, Path(tempfile.mkdtemp(dir=folder)))
    return lambda: make("files:rows.parquet")


def appended(folder: Path) -> dict[str, dict[str, float]]:
    """Processor time and MiB written of a version, and of one with 1 % more rows."""
    (folder / "watched").mkdir()
    make, answer = _maker(folder, folder / "state"), {}
    for number, (who, rows) in enumerate((("first", APPENDED), ("appended", APPENDED // 100))):
        _make(folder / "watched" / f"{number}.parquet", rows, number)
        before, began = _size(folder / "state"), time.process_time()
        make("files:watched")
        spent = time.process_time() - began
        written = (_size(folder / "state") - before) / MIB**2
        answer[who] = {"seconds": spent, "written_mib": written}
    return answer


def _maker(folder: Path, state: Path) -> Callable[[str], object]:
    """What makes a version of a source in the folder. Loading libraries is not measured."""
    import pyarrow.dataset  # noqa: F401

    from projects.schema import Dataset
    from resources.datasets.sources import Sources
    from resources.datasets.store import DatasetStore
    from resources.storage.object_store import ObjectStore
    from resources.storage.request_logs import RequestLogs

    objects = ObjectStore(str(state / "objects"), state / "cache")
    sources = Sources(objects, RequestLogs(state / "requests", objects))

    def make(source: str) -> object:
        declared = Dataset(source=source, label="label")
        with sources.rows("bench", declared, folder) as rows:
            return DatasetStore(objects).write("bench", "rows", declared, rows)

    return make


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def contend(who: str, folder: Path) -> None:
    """Print processor time and peak memory of one contender as JSON."""
    if who == "appended":
        print(json.dumps(appended(folder)))
        return
    # Loading libraries is not measured.
    work = {"by hand": by_hand, "platform": platform}[who](folder)
    began = time.process_time()
    work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
    print(json.dumps({"seconds": time.process_time() - began, "mib": peak}))


if __name__ == "__main__":
    contend(sys.argv[1], Path(sys.argv[2]))
