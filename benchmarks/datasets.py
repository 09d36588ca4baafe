"""Reading and profiling of datasets, against Arrow and DuckDB by hand."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv

from benchmarks.measure import in_turns, show
from projects.schema import Dataset
from resources.datasets.arrow import pc
from resources.datasets.profiling import profile_of
from resources.datasets.sources import Sources
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import RequestLogs

REPEATS = 5
COLUMNS, ROWS = 1_024, 2_000
LINES = 200_000


def main() -> None:
    """Print seconds of processor time."""
    generator = np.random.default_rng(0)
    _profiling(generator)
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        folder = Path(name)
        objects = ObjectStore(str(folder / "objects"), folder / "cache")
        sources = Sources(objects, RequestLogs(folder / "requests", objects))
        _lines(generator, folder, sources)


def _profiling(generator: np.random.Generator) -> None:
    pixels = generator.random((COLUMNS, ROWS), np.float32)
    table = pa.table({f"pixel_{i}": values for i, values in enumerate(pixels)})
    contenders = {
        "pyarrow by hand": lambda: _cpu(lambda: _by_hand(table)),
        "platform": lambda: _cpu(lambda: profile_of(table)),
    }
    title = f"Profile of {COLUMNS} columns, {ROWS} rows"
    show(title, "CPU s", in_turns(contenders, REPEATS), "pyarrow by hand", "<= 3")


def _by_hand(table: pa.Table) -> list[tuple]:
    return [(c.null_count, pc.min_max(c).as_py(), pc.mean(c).as_py()) for c in table.columns]


def _lines(generator: np.random.Generator, folder: Path, sources: Sources) -> None:
    columns = {f"x{i}": generator.normal(size=LINES) for i in range(10)}
    file = folder / "rows.csv"
    pyarrow.csv.write_csv(pa.table(columns), file)
    declared = Dataset(source="files:rows.csv")
    contenders = {
        "pyarrow, types of the first block": lambda: _cpu(lambda: pyarrow.csv.read_csv(file)),
        "DuckDB, types of all rows": lambda: _cpu(
            lambda: duckdb.read_csv(str(file), sample_size=-1).to_arrow_table()
        ),
        "platform": lambda: _cpu(lambda: sources.read("p", declared, folder)),
    }
    values = in_turns(contenders, REPEATS)
    show(f"CSV of {LINES} rows", "CPU s", values, "DuckDB, types of all rows", "<= 1")


def _cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
