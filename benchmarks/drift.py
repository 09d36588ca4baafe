"""A look for drift: processor seconds and peak memory by the size of the log and of the training
set, against reading all of both. Each contender is a process of its own, whose second look counts;
`python -m benchmarks.drift WHO FOLDER`."""

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
from rich.table import Table

from benchmarks.measure import console, peak_mib

LOG_MB = (1, 10, 100)
ROWS = (10_000, 100_000, 1_000_000)
COLUMNS = 20
NAMES = [f"x{number}" for number in range(COLUMNS)]
WHO = ("nothing", "all of both", "platform", "nothing new")


def main() -> None:
    """Print a table by size of the log, and one by rows of the training set."""
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        by_log = {f"{mb} MB": _made(Path(name, f"log{mb}"), mb, ROWS[1]) for mb in LOG_MB}
        by_rows = {f"{rows:.0e}": _made(Path(name, f"rows{rows}"), 10, rows) for rows in ROWS}
        _show("A look for drift by size of the log, 1e+05 rows learned from", by_log)
        _show("A look for drift by rows learned from, a log of 10 MB", by_rows)


def _show(title: str, folders: dict[str, Path]) -> None:
    """Print CPU milliseconds and MiB beyond an idle process, and the exponent of their growth."""
    table = Table("", *folders, "exponent", title=f"{title} (aim: exponent of the platform 0)")
    said = {name: {who: _measured(who, at) for who in WHO} for name, at in folders.items()}
    for who in WHO[1:]:
        cpu = [said[name][who]["cpu_s"] for name in folders]
        mib = [said[name][who]["mib"] - said[name]["nothing"]["mib"] for name in folders]
        shown = [f"{1e3 * c:.1f} ms, {m:.0f} MiB" for c, m in zip(cpu, mib, strict=True)]
        # Sizes grow a hundredfold from the first to the last.
        exponent = math.log(cpu[-1] / cpu[0]) / math.log(100)
        table.add_row(who, *shown, f"{exponent:.2f}")
    console.print(table)


def _measured(who: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.drift", who, str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def _made(folder: Path, megabytes: int, rows: int) -> Path:
    """A folder with a version of so many training rows, and a log of so many bytes."""
    from projects.schema import Dataset
    from resources.datasets.store import DatasetStore
    from resources.storage.object_store import ObjectStore

    generator = np.random.default_rng(0)
    columns = {name: generator.normal(size=rows * 4 // 3) for name in NAMES}
    objects = ObjectStore(str(folder / "objects"), folder / "cache")
    declared = Dataset(source="files:rows.parquet")
    version = DatasetStore(objects).write("bench", "rows", declared, pa.table(columns))
    (folder / "version").write_text(version.version)
    _write_log(folder / "requests" / "bench.api", megabytes * 1_000_000, generator)
    return folder


def _write_log(folder: Path, size: int, generator: np.random.Generator) -> None:
    """A full log in sixteen files, as a replica writes it."""
    folder.mkdir(parents=True)
    at = time.time() - 100_000
    for part in range(16):
        with (folder / f"s0.{part:016d}.jsonl").open("w") as file:
            file.write(json.dumps({"columns": NAMES}) + "\n")
            while file.tell() < size // 16:
                rows = generator.normal(size=(100, COLUMNS)).tolist()
                for row in rows:
                    at += 0.01
                    about = {"at": at, "request_id": "0" * 32, "model_version": 1}
                    file.write(json.dumps({**about, "prediction": 0.5, "inputs": row}) + "\n")


def _looks(folder: Path) -> dict[str, Callable[[], Any]]:
    from engine.rows import columns_of, read_rows
    from engine.runtime.table_rows import values_of
    from resources.datasets.store import DatasetStore
    from resources.storage.log_lines import entries_of
    from resources.storage.object_store import ObjectStore
    from resources.storage.request_logs import MOST_ROWS, RequestLogs
    from sensors.service_drift import drift_of, measure_drift

    objects = ObjectStore(str(folder / "objects"), folder / "cache")
    datasets, logs = DatasetStore(objects), RequestLogs(folder / "requests", objects)
    version = (folder / "version").read_text()

    def all_of_both() -> Any:
        learned = datasets.read("bench", "rows", version)
        entries = [
            entry.content
            for file in logs.files("bench.api")
            for entry in entries_of(file)
            if entry.content
        ]
        newest = sorted(entries, key=lambda entry: entry["at"])[-MOST_ROWS:]
        values = zip(*(entry["inputs"] for entry in newest), strict=True)
        asked = {c.name: values_of(c.kind, v) for c, v in zip(learned.columns, values, strict=True)}
        table = read_rows(learned.train, NAMES)
        return measure_drift(columns_of(table, learned.columns), asked, learned.columns)

    model = SimpleNamespace(model="reader", dataset="rows")
    declared = SimpleNamespace(services={"api": model}, models={"reader": model})
    project: Any = SimpleNamespace(name="bench", declaration=declared)
    registered = SimpleNamespace(tags={"orrery.dataset_version": version}, artefact_digest="0")
    tracking: Any = SimpleNamespace(version=lambda *_: registered)
    return {
        "nothing": lambda: None,
        "all of both": all_of_both,
        "platform": lambda: drift_of(project, "api", datasets, tracking, logs),
        "nothing new": lambda: logs.mark("bench.api"),
    }


def contend(who: str, folder: Path) -> None:
    """Print processor seconds of a look and peak memory of the process as JSON."""
    import scipy.stats  # loaded by every contender alike

    assert scipy.stats
    look = _looks(folder)[who]
    look()
    began = time.process_time()
    look()
    cpu_s = time.process_time() - began
    print(json.dumps({"cpu_s": cpu_s, "mib": peak_mib()}))


if __name__ == "__main__":
    contend(sys.argv[1], Path(sys.argv[2]))
