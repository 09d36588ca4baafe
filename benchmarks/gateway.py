"""The gateway: an authenticated read against a bare FastAPI handler, predictions with a key
against the router behind it, listings of 100,000 jobs, submits, and followers of logs. Each server
has one process on one core; `wrk` (Debian's package) asks from the other.
"""

import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from api.processes.plan import free_port
from benchmarks.measure import console, in_turns, show
from resources.database.control import Control
from resources.settings import CHECKOUT

REPEATS = 3
SECONDS = 5
CONNECTIONS = 16
JOBS = 100_000
SUBMITS = 200
FOLLOWERS = 500
PROJECT = """
project: bench
owner: team:bench
datasets: {scans: {source: "sklearn:digits", label: target}}
models: {reader: {dataset: scans, trainer: "training.vision:train"}}
simulations:
  weathering:
    model: reader
    suite: simulations/suites/image_corruptions.yaml
    gate: {accuracy: {at_least: 0.1}}
services: {reader: {model: reader}}
"""
BARE = """
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()

class Job(BaseModel):
    job_id: str
    status: str
    project: str
    name: str
    spec: dict

@app.get("/train/jobs/{id}")
async def get(id: str) -> Job:
    return Job(job_id=id, status="queued", project="digits", name="reader", spec={"seed": 1})
"""


def main() -> None:
    """Print requests per second, tails, and what scales."""
    if shutil.which("wrk") is None:
        console.print("this benchmark needs `wrk`; install Debian's package of that name")
        return
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        folder = Path(name)
        with ours(folder) as (url, key), _bare(folder) as bare:
            headers = {"Authorization": f"Bearer {key}"}
            client = httpx.Client(base_url=url, headers=headers, timeout=60)
            job = client.post("/train/jobs", json={"model": "balancer"}).json()["job_id"]
            client.delete(f"/train/jobs/{job}")
            _read(
                {
                    "bare FastAPI": (f"{bare}/train/jobs/x", ""),
                    "Orrery": (f"{url}/train/jobs/{job}", key),
                }
            )
            _predict(folder, url, key)
            _submit(client)
            _list(folder, client)
            asyncio.run(_follow(url, key, job))


def _read(targets: dict[str, tuple[str, str]]) -> None:
    rates, tails = _measured(targets)
    show("Authenticated GET of one job", "requests/s", rates, "bare FastAPI", ">= 0.5")
    show("Its 99th percentile", "ms", tails, "bare FastAPI", "")


def _measured(
    targets: dict[str, tuple[str, str]], *more: str
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Requests per second and milliseconds of the 99th percentile, by target, asked in turns."""
    tails: dict[str, list[float]] = {name: [] for name in targets}

    def ask(name: str) -> float:
        target, key = targets[name]
        command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s"]
        command += ["--latency", "-H", f"Authorization: Bearer {key}", *more, target]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in said:
            raise RuntimeError(f"{name} answered with errors:\n{said}")
        match = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
        assert match
        tails[name].append(float(match[1]) * {"us": 0.001, "ms": 1, "s": 1000}[match[2]])
        rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
        assert rate
        return float(rate[1])

    return in_turns({name: lambda name=name: ask(name) for name in targets}, REPEATS), tails


def _predict(folder: Path, url: str, key: str) -> None:
    """One row a request, by the router alone and through the gateway with a key."""
    from benchmarks.service import BODY, LUA, SERVICE, exported, orrery

    script = folder / "predict.lua"
    script.write_text(LUA.format(body=BODY))
    program = exported(folder)
    with orrery(folder, program.parent, folder / "state" / "services") as router:
        targets = {
            "router": (router, ""),
            "gateway": (f"{url}/inference/services/{SERVICE}/predict", key),
        }
        _wait_for_prediction(*targets["gateway"])
        rates, tails = _measured(targets, "-s", str(script))
    show("Predictions with a key", "requests/s", rates, "router", ">= 0.5")
    show("Their 99th percentile", "ms", tails, "router", "")


def _wait_for_prediction(url: str, key: str) -> None:
    from benchmarks.service import BODY

    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    while httpx.post(url, content=BODY, headers=headers, timeout=30).status_code != httpx.codes.OK:
        time.sleep(0.1)


def _submit(client: httpx.Client) -> None:
    taken = []
    began = time.monotonic()
    for number in range(SUBMITS):
        answer = client.post(
            "/train/jobs",
            json={"model": "balancer", "hyperparameters": {"iterations": 1}},
            headers={"Idempotency-Key": f"bench-{number}"},
        )
        taken.append(answer.raise_for_status().json()["job_id"])
    spent_s = time.monotonic() - began
    for job in taken:
        client.delete(f"/train/jobs/{job}")
    console.print(f"submit to queued: {SUBMITS / spent_s:.0f} per second (>= 50)")


def _list(folder: Path, client: httpx.Client) -> None:
    _fill(folder)
    spent: list[float] = []
    cursor, pages = None, 0
    while True:
        params: dict[str, Any] = {"limit": 200, **({"cursor": cursor} if cursor else {})}
        began = time.monotonic()
        page = client.get("/train/jobs", params=params).raise_for_status().json()
        spent.append((time.monotonic() - began) * 1000)
        cursor, pages = page["next_cursor"], pages + 1
        if not cursor:
            break
    tenth = max(1, len(spent) // 10)
    shown = [f"{_p95(spent[i : i + tenth]):.1f}" for i in range(0, len(spent) - tenth + 1, tenth)]
    console.print(
        f"listing {JOBS} jobs, {pages} pages of 200: p95 in ms by depth, tenth by tenth: "
        + " ".join(shown)
    )


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def _fill(folder: Path) -> None:
    from sqlalchemy import insert, select

    from scheduler import jobs
    from scheduler.tables import jobs as table

    control = Control(f"sqlite:///{folder / 'state' / 'control.db'}")
    with control.write() as connection:
        row = dict(connection.execute(select(table).limit(1)).mappings().one())
        rows = [
            {**row, "id": jobs.new_id("job"), "status": "succeeded", "key_id": None}
            for _ in range(JOBS)
        ]
        connection.execute(insert(table), rows)
    control.close()


async def _follow(url: str, key: str, job: str) -> None:
    """Followers of one job that is over, and of one that waits for ever."""
    headers = {"Authorization": f"Bearer {key}"}
    limits = httpx.Limits(max_connections=FOLLOWERS + 10)
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=60, limits=limits
    ) as client:
        waiting = (
            await client.post("/train/jobs", json={"model": "balancer"}, headers=headers)
        ).json()["job_id"]
        open_now, failed = 0, 0
        everyone = asyncio.Event()

        async def follow() -> None:
            nonlocal open_now, failed
            async with client.stream("GET", f"/train/jobs/{waiting}/logs") as answer:
                if answer.status_code != httpx.codes.OK:
                    failed += 1
                    return
                open_now += 1
                await everyone.wait()

        began = time.monotonic()
        tasks = [asyncio.create_task(follow()) for _ in range(FOLLOWERS)]
        while open_now + failed < FOLLOWERS:
            await asyncio.sleep(0.05)
        opened_s = time.monotonic() - began
        times = []
        for _ in range(50):
            sent_at = time.monotonic()
            (await client.get(f"/train/jobs/{job}")).raise_for_status()
            times.append((time.monotonic() - sent_at) * 1000)
        everyone.set()
        await asyncio.gather(*tasks)
        await client.delete(f"/train/jobs/{waiting}")
    console.print(
        f"{open_now} followers of one log open within {opened_s:.1f} s ({failed} refused); "
        f"a read beside them takes {statistics.median(times):.1f} ms, p95 {_p95(times):.1f} ms"
    )


@contextmanager
def ours(
    folder: Path, projects: Mapping[str, str] = MappingProxyType({"bench": PROJECT})
) -> Iterator[tuple[str, str]]:
    """Address and admin key of a gateway that runs meanwhile, with these projects by name and the
    shipped ones."""
    port, state = free_port("127.0.0.1"), folder / "state"
    (folder / "projects").mkdir()
    for name, text in projects.items():
        (folder / "projects" / f"{name}.yaml").write_text(text)
    env = {
        "ORRERY_PROJECTS": f"{CHECKOUT / 'projects'}{os.pathsep}{folder / 'projects'}",
        "ORRERY_STATE": str(state),
        "ORRERY_PORT": str(port),
        "ORRERY_REQUESTS_PER_MINUTE": "100000000",
        "ORRERY_PREDICTIONS_PER_MINUTE": "100000000",
        "DAGSTER_HOME": str(CHECKOUT),
    }
    url = f"http://127.0.0.1:{port}"
    with _server([sys.executable, "-m", "api.server"], f"{url}/ready", folder / "ours.log", **env):
        yield url, (state / "admin.key").read_text().strip()


@contextmanager
def _bare(folder: Path) -> Iterator[str]:
    (folder / "bare.py").write_text(BARE)
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "uvicorn", "bare:app", "--port", str(port)]
    command += ["--no-access-log", "--app-dir", str(folder)]
    url = f"http://127.0.0.1:{port}"
    with _server(command, f"{url}/train/jobs/x", folder / "bare.log"):
        yield url


@contextmanager
def _server(command: list[str], ready: str, log: Path, **env: str) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", "0", *command],
            cwd=CHECKOUT,
            env={**os.environ, **env},
            stdout=output,
            stderr=output,
        )
    try:
        end = time.monotonic() + 120
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{command} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        # It may be loading the definitions of many projects.
        process.wait(180)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False
