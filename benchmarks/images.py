"""A dataset version of 20,000 images of 32 x 32: processor time and peak memory, against Pillow
and pyarrow by hand. Each contender is a process of its own: `python -m benchmarks.images WHO
FOLDER`."""

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from benchmarks.measure import in_turns, show

IMAGES, SIDE, AT_ONCE = 20_000, 32, 2_000
REPEATS = 3
MIB = 1024


def main() -> None:
    """Print processor time and peak memory of every contender."""
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        folder = Path(name)
        _draw(folder / "pictures")
        peaks: dict[str, list[float]] = {"by hand": [], "platform": []}

        def measured(who: str) -> float:
            command = [sys.executable, "-m", "benchmarks.images", who, str(folder)]
            answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            peaks[who].append(answer["mib"])
            return answer["seconds"]

        seconds = in_turns({who: lambda w=who: measured(w) for who in peaks}, REPEATS)
    title = f"{IMAGES} images of {SIDE} x {SIDE} to a version"
    show(title, "CPU s", seconds, "by hand", "<= 1.5")
    show(f"{title}, peak memory", "MiB", peaks, "by hand", "< 400 MiB")


def _draw(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for i in range(IMAGES):
        file = folder / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (SIDE, SIDE), np.uint8)).save(file)


def by_hand(folder: Path) -> Callable[[], None]:
    """What decodes and hashes the images, draws a split, and writes rows with the files and their
    pixels as lists, hashed as well, a portion at a time."""
    import pyarrow.parquet as pq

    def work() -> None:
        generator, digest = np.random.default_rng(0), hashlib.sha256()
        files = sorted((folder / "pictures").rglob("*.png"))
        pixels = pa.list_(pa.float32(), SIDE * SIDE)
        names = {"file": pa.string(), "label": pa.string(), "digest": pa.string()}
        schema = pa.schema({**names, "content": pa.binary(), "pixels": pixels})
        with (
            pq.ParquetWriter(folder / "train.parquet", schema) as train,
            pq.ParquetWriter(folder / "test.parquet", schema) as test,
        ):
            for begin in range(0, IMAGES, AT_ONCE):
                part = files[begin : begin + AT_ONCE]
                contents = [file.read_bytes() for file in part]
                greys = np.stack([_greys(content) for content in contents])
                digest.update(greys.tobytes())
                columns = [
                    [str(file) for file in part],
                    [file.parent.name for file in part],
                    [hashlib.sha256(content).hexdigest() for content in contents],
                    contents,
                    pa.FixedSizeListArray.from_arrays(pa.array(greys.ravel()), SIDE * SIDE),
                ]
                table = pa.table(columns, schema=schema)
                held_out = generator.random(len(part)) < 0.25
                train.write_table(table.filter(pa.array(~held_out)))
                test.write_table(table.filter(pa.array(held_out)))

    return work


def _greys(content: bytes) -> np.ndarray:
    with Image.open(BytesIO(content)) as image:
        return np.asarray(image.convert("L").resize((SIDE, SIDE)), np.float32).ravel()


def platform(folder: Path) -> Callable[[], None]:
    """What makes a version by the source and the store, which has none of the images yet."""
    import pyarrow.dataset  # noqa: F401

    from projects.schema import Dataset
    from resources.datasets.sources import Sources
    from resources.datasets.store import DatasetStore
    from resources.storage.object_store import ObjectStore
    from resources.storage.request_logs import RequestLogs

    def work() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            objects = ObjectStore(str(Path(name, "objects")), Path(name, "cache"))
            size = {"height": SIDE, "width": SIDE}
            declared = Dataset.model_validate(
                {"source": "images:pictures", "label": "label", "image": size}
            )
            sources = Sources(objects, RequestLogs(Path(name, "requests"), objects))
            with sources.rows("bench", declared, folder) as rows:
                DatasetStore(objects).write("bench", "pictures", declared, rows)

    return work


def contend(who: str, folder: Path) -> None:
    """Print processor time and peak memory of one contender as JSON."""
    # Loading libraries is not measured.
    work = {"by hand": by_hand, "platform": platform}[who](folder)
    began = time.process_time()
    work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
    print(json.dumps({"seconds": time.process_time() - began, "mib": peak}))


if __name__ == "__main__":
    contend(sys.argv[1], Path(sys.argv[2]))
