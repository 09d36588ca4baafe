"""Reading and profiling of datasets, against Arrow, DuckDB and Pillow by hand."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv
from PIL import Image

from benchmarks.measure import in_turns, show
from projects.schema import Dataset
from resources.datasets.arrow import pc
from resources.datasets.profiling import profile_of
from resources.datasets.sources import Sources
from resources.datasets.store import DatasetStore
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import RequestLogs

REPEATS = 5
COLUMNS, ROWS = 1_024, 2_000
IMAGES, SIDE = 2_000, 32
LINES = 200_000


def main() -> None:
    """Print seconds of processor time."""
    generator = np.random.default_rng(0)
    _profiling(generator)
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        folder = Path(name)
        objects = ObjectStore(str(folder / "objects"), folder / "cache")
        sources = Sources(objects, RequestLogs(folder / "requests", objects))
        _images(generator, folder, sources)
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


def _images(generator: np.random.Generator, folder: Path, sources: Sources) -> None:
    files = [folder / "pictures" / "ab"[i % 2] / f"{i}.png" for i in range(IMAGES)]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        greys = generator.integers(0, 255, (SIDE, SIDE), np.uint8)
        Image.fromarray(greys).save(file)
    size = {"height": SIDE, "width": SIDE}
    declared = Dataset.model_validate({"source": "images:pictures", "image": size})
    contenders = {
        "Pillow by hand": lambda: _cpu(lambda: np.stack([_pixels(file) for file in files])),
        "platform": lambda: _cpu(lambda: sources.read("p", declared, folder)),
        "platform, from files to a version": lambda: _cpu(lambda: _version_of(declared, folder)),
    }
    title = f"{IMAGES} images of {SIDE} x {SIDE}"
    show(title, "CPU s", in_turns(contenders, REPEATS), "Pillow by hand", "<= 5")


def _version_of(declared: Dataset, folder: Path) -> None:
    """A version in an object store that has none of the images yet."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        objects = ObjectStore(str(Path(name, "objects")), Path(name, "cache"))
        rows = Sources(objects, RequestLogs(Path(name), objects)).read("p", declared, folder)
        DatasetStore(objects).write("p", "pictures", declared, rows)


def _pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("L").resize((SIDE, SIDE)), np.float32).ravel()


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
