"""Memory of a version of large files does not grow with their rows."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pytest

ROWS, COLUMNS = 130_000, 16
READER = """
import resource, sys
from pathlib import Path

from projects.schema import Dataset
from resources.datasets import blocks, store, streams
from resources.datasets.sources import Sources, large
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import RequestLogs

name, folder = sys.argv[1], Path(sys.argv[2])
large.LARGE_BYTES = 1
streams.PORTION_BYTES = blocks.BLOCK_BYTES = 1 << 20
objects = ObjectStore(str(folder / name / "objects"), folder / name / "cache")
sources = Sources(objects, RequestLogs(folder / name / "requests", objects))
declared = Dataset(source=f"files:{name}.csv", label="label")
with sources.rows("p", declared, folder) as rows:
    version = store.DatasetStore(objects).write("p", name, declared, rows)
Path(folder, f"{name}.txt").write_text(
    f"{version.rows} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}"
)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two CSV files, one with four times the rows of the other."""
    folder = tmp_path_factory.mktemp("rows")
    for name, times in (("few", 1), ("many", 4)):
        generator = np.random.default_rng(0)
        columns = {f"x{i}": generator.normal(size=ROWS * times) for i in range(COLUMNS)}
        labels = generator.integers(0, 3, ROWS * times)
        pcsv.write_csv(pa.table({**columns, "label": labels}), folder / f"{name}.csv")
    return folder


def peak_mib(name, folder):
    """Peak memory of a process that makes a version of the file."""
    command = [sys.executable, "-c", READER, name, str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    rows, peak = map(int, (folder / f"{name}.txt").read_text().split())
    assert rows == ROWS * (4 if name == "many" else 1)
    return peak


def test_four_times_the_rows_take_no_more_memory(folder):
    grown = peak_mib("many", folder) - peak_mib("few", folder)

    # In portions the larger file takes about 25 MiB more, and about 240 where it is read whole.
    assert grown < 80
