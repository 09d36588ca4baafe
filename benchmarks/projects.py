"""What projects cost while nothing happens, and what they add to the first step of a job.

`python -m benchmarks projects`. Each size is one `orrery up` with so many projects: a watched
dataset of 100 rows, a model, a simulation, and a service whose requests are watched for drift.
Processor time is that of every process of the installation together, over 45 seconds of rest.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
from rich.table import Table

from api.processes.plan import free_port
from benchmarks.measure import console
from resources.settings import CHECKOUT

SIZES = (10, 100, 300)
REST_S = 45.0
SETTLED_S = 30.0
"""After the start, sensors look at everything for the first time."""
PROJECT = """
project: p{number}
owner: team:bench
datasets:
  rows:
    source: "files:{folder}/rows.csv"
    label: y
    watch: {folder}/incoming-{number}
    split: {{test: 0.25}}
models:
  flat:
    dataset: rows
    trainer: training.tables:train
    hyperparameters: {{learner: linear}}
simulations:
  worn:
    model: flat
    suite: {{kind: tabular}}
    gate: {{accuracy: {{at_least: 0.2}}}}
services:
  flat-api: {{model: flat}}
automation:
  retrain: {{on: [new_data, drift]}}
  nightly_simulation: "0 2 * * *"
"""


class Cost(NamedTuple):
    """What an installation with so many projects takes."""

    projects: int
    start_s: float
    idle: float
    """Processor seconds a second."""
    memory_mib: float
    processes: int
    first_step_s: float
    """From the request of a training to the first line of progress, of its third job."""
    stop_s: float


def main() -> None:
    """Print the cost by the number of projects."""
    sizes = [int(size) for size in os.environ.get("BENCH_PROJECTS", "").split()] or SIZES
    show([measured(size) for size in sizes])


def show(costs: list[Cost]) -> None:
    """Print a row a size."""
    title = "Projects at rest (aim: under 3 % of a core and a start under 30 s with 300)"
    table = Table(*Cost._fields, title=title)
    for cost in costs:
        table.add_row(
            str(cost.projects),
            f"{cost.start_s:.1f}",
            f"{cost.idle:.1%}",
            f"{cost.memory_mib:.0f}",
            str(cost.processes),
            f"{cost.first_step_s:.1f}",
            f"{cost.stop_s:.1f}",
        )
    console.print(table)


def measured(projects: int) -> Cost:
    """The cost of an installation with so many projects."""
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        folder = Path(name)
        _declare(folder, projects)
        began = time.monotonic()
        with _up(folder) as (up, url, key):
            start_s = time.monotonic() - began
            time.sleep(SETTLED_S)
            idle, memory_mib, processes = _rest(up)
            first_step_s = [_first_step(url, key) for _ in range(3)][-1]
            began = time.monotonic()
            up.send_signal(signal.SIGINT)
            up.wait(200)
            stop_s = time.monotonic() - began
    return Cost(projects, start_s, idle, memory_mib, processes, first_step_s, stop_s)


def _declare(folder: Path, projects: int) -> None:
    (folder / "projects").mkdir()
    rows = "\n".join(f"{n},{n * n % 7},{'ab'[n % 3 == 0]}" for n in range(100))
    (folder / "rows.csv").write_text(f"a,b,y\n{rows}\n")
    for number in range(projects):
        (folder / f"incoming-{number}").mkdir()
        text = PROJECT.format(number=number, folder=folder)
        (folder / "projects" / f"p{number}.yaml").write_text(text)


@contextmanager
def _up(folder: Path) -> Iterator[tuple[subprocess.Popen, str, str]]:
    ports = {
        name: str(free_port("127.0.0.1"))
        for name in ("ORRERY_PORT", "ORRERY_ROUTER_PORT", "ORRERY_ROUTER_GRPC_PORT")
    }
    state, log = folder / "state", folder / "up.log"
    env = {
        **os.environ,
        **ports,
        "PYTHONPATH": str(CHECKOUT),
        "ORRERY_STATE": str(state),
        "ORRERY_PROJECTS": str(folder / "projects"),
    }
    with log.open("wb") as output:
        command = [sys.executable, "-c", "from api.cli.main import main; main()", "up"]
        up = subprocess.Popen(command, cwd=CHECKOUT, env=env, stdout=output, stderr=output)
    try:
        while b"Ctrl-C" not in log.read_bytes():
            if up.poll() is not None:
                raise RuntimeError(f"orrery up ended:\n{log.read_text()}")
            time.sleep(0.1)
        key = (state / "admin.key").read_text().strip()
        yield up, f"http://127.0.0.1:{ports['ORRERY_PORT']}", key
    finally:
        if up.poll() is None:
            up.send_signal(signal.SIGINT)
            up.wait(200)


def _rest(up: subprocess.Popen) -> tuple[float, float, int]:
    """Processor seconds a second, MiB, and number of processes."""
    before, began = _spent(up), time.monotonic()
    time.sleep(REST_S)
    after, elapsed_s = _spent(up), time.monotonic() - began
    if os.environ.get("BENCH_VERBOSE"):
        for pid, (spent_s, name) in after.items():
            console.print(f"{spent_s - before.get(pid, (0.0, ''))[0]:8.2f} s  {name}")
    idle = sum(spent for spent, _ in after.values()) - sum(spent for spent, _ in before.values())
    family = _family(up)
    memory = sum(process.memory_full_info().pss for process in family)
    return idle / elapsed_s, memory / (1 << 20), len(family)


def _family(up: subprocess.Popen) -> list[psutil.Process]:
    parent = psutil.Process(up.pid)
    return [parent, *parent.children(recursive=True)]


def _spent(up: subprocess.Popen) -> dict[int, tuple[float, str]]:
    """Processor seconds and name by process; children that have ended count for their parent."""
    spent = {}
    for process in _family(up):
        try:
            times, name = process.cpu_times(), " ".join(process.cmdline()[1:6])
        except psutil.NoSuchProcess:
            continue
        total = times.user + times.system + times.children_user + times.children_system
        spent[process.pid] = (total, name)
    return spent


def _first_step(url: str, key: str) -> float:
    """Seconds from the request of a training to its first line of progress; returns when it has
    ended."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as api:
        began = time.monotonic()
        answer = api.post("/train/jobs", json={"model": "p1/flat"})
        answer.raise_for_status()
        job, first_s = answer.json()["job_id"], None
        while True:
            found = api.get(f"/train/jobs/{job}").json()
            if first_s is None and found.get("progress"):
                first_s = time.monotonic() - began
            if found["status"] == "succeeded" and first_s is not None:
                return first_s
            if found["status"] in ("failed", "stopped", "refused"):
                raise RuntimeError(json.dumps(found))
            if time.monotonic() - began > 300:
                raise TimeoutError(json.dumps(found))
            time.sleep(0.05)


if __name__ == "__main__":
    main()
