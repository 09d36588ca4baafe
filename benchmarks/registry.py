"""Pages of models, versions, simulations, experiments and curves, by what MLflow holds.

`python -m benchmarks registry`. The gateway answers over HTTP; the plain tool is MLflow's client,
which reads all versions of the same page of models, and every value of the same curve.
"""

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from rich.table import Table

from benchmarks.gateway import ours
from benchmarks.measure import console, exponent
from resources.tracking.registry import DIGEST_TAG

MODELS_OF_A_PROJECT = 10
SIZES = ((20, 5), (200, 50), (2_000, 500))
"""Models, and versions of each."""
POINTS = (1_000, 10_000, 100_000)
REPEATS = 20
PAGE = 50
PROJECT = """
project: p{number:03}
owner: team:bench
datasets: {{scans: {{source: "sklearn:digits", label: target}}}}
models: {{{models}}}
simulations: {{{simulations}}}
"""
MODEL = 'm{0}: {{dataset: scans, trainer: "training.vision:train"}}'
SIMULATION = "s{0}: {{model: m{0}, suite: simulations/suites/image_corruptions.yaml}}"
PAGES = {
    "models.list": "/models?limit=50",
    "models.versions": "/models/p000/m0/versions?limit=50",
    "simulations.list": "/simulation/environments?limit=50",
    "experiments.list": "/experiments?limit=50",
}


class Growth(NamedTuple):
    """What one question takes, by size."""

    name: str
    p95_ms: list[float]


def main() -> None:
    """Print milliseconds of every page, and of a curve, by size."""
    names = [f"{models} x {versions}" for models, versions in SIZES]
    _show("Pages by models and versions of each, p95 in ms (aim: <= 50)", names, pages())
    _show("A curve by its points, ms", [f"{points:,}" for points in POINTS], curves())


def _show(title: str, sizes: list[str], found: list[Growth]) -> None:
    table = Table("", *sizes, "exponent of the last step", title=title)
    for each in found:
        table.add_row(each.name, *(f"{v:.1f}" for v in each.p95_ms), f"{exponent(each.p95_ms):.2f}")
    console.print(table)


def pages() -> list[Growth]:
    """The 95th percentile of each page, and of MLflow's client for a page of models."""
    spent: dict[str, list[float]] = {}
    for models, versions in SIZES:
        with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
            folder = Path(name)
            with ours(folder, _declared(models)) as (url, key):
                headers = {"Authorization": f"Bearer {key}"}
                with httpx.Client(base_url=url, headers=headers, timeout=300) as client:
                    client.get("/models", params={"limit": 1}).raise_for_status()
                    database = folder / "state" / "mlflow.db"
                    _fill(database, models, versions)
                    for page, path in PAGES.items():
                        spent.setdefault(page, []).append(_p95(lambda p=path: client.get(p)))
                plain = _plain_page(f"sqlite:///{database}")
                spent.setdefault("models.list, by MLflow's client", []).append(plain)
    return [Growth(name, values) for name, values in spent.items()]


def curves() -> list[Growth]:
    """A curve of at most 1,000 points, and all of it by MLflow's client."""
    from resources.tracking.experiments import Experiments

    spent: dict[str, list[float]] = {"platform": [], "MLflow's client": []}
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        database = Path(name, "mlflow.db")
        experiments = Experiments(f"sqlite:///{database}", name, "")
        run = experiments.run(experiments.start_run("0", "bench", "bench", {}))
        assert run is not None
        for points in POINTS:
            _log(database, run.id, f"loss-{points}", points)
        run = experiments.run(run.id)
        assert run is not None
        for points in POINTS:
            metric = f"loss-{points}"
            ours_ms = _median(lambda m=metric: experiments.curves(run, [m], 1_000))
            plain = _median(lambda m=metric: experiments._client.get_metric_history(run.id, m))
            spent["platform"].append(ours_ms)
            spent["MLflow's client"].append(plain)
    return [Growth(name, values) for name, values in spent.items()]


def _declared(models: int) -> dict[str, str]:
    numbers = range(MODELS_OF_A_PROJECT)
    parts = {
        "models": ", ".join(MODEL.format(n) for n in numbers),
        "simulations": ", ".join(SIMULATION.format(n) for n in numbers),
    }
    count = models // MODELS_OF_A_PROJECT
    return {f"p{n:03}": PROJECT.format(number=n, **parts) for n in range(count)}


def _fill(database: Path, models: int, versions: int) -> None:
    """So many registered models with versions, aliases and experiments, written at once."""
    now = int(time.time() * 1000)
    names = [f"p{n // MODELS_OF_A_PROJECT:03}.m{n % MODELS_OF_A_PROJECT}" for n in range(models)]
    numbers = range(1, versions + 1)
    with sqlite3.connect(database, timeout=60) as into:
        _insert(into, "registered_models", [{"name": n, "creation_time": now} for n in names])
        for name in names:
            rows: list[dict[str, Any]] = [
                {
                    "name": name,
                    "version": number,
                    "creation_time": now,
                    "last_updated_time": now,
                    "current_stage": "None",
                    "source": "file:///x",
                    "run_id": f"{name}{number}",
                    "status": "READY",
                }
                for number in numbers
            ]
            _insert(into, "model_versions", rows)
            tags = {DIGEST_TAG: "0" * 64, "orrery.dataset_version": "1" * 64}
            rows = [
                {"name": name, "version": number, "key": key, "value": value}
                for number in numbers
                for key, value in tags.items()
            ]
            _insert(into, "model_version_tags", rows)
            champion = {"name": name, "alias": "champion", "version": max(1, versions - 2)}
            _insert(into, "registered_model_aliases", [champion])
        experiments = [
            {
                "experiment_id": 1_000 + number,
                "name": f"p{number // MODELS_OF_A_PROJECT:03}/e{number}",
                "artifact_location": "file:///x",
                "lifecycle_stage": "active",
                "creation_time": now + number,
                "last_update_time": now,
            }
            for number in range(models)
        ]
        _insert(into, "experiments", experiments)
    into.close()


def _log(database: Path, run: str, metric: str, points: int) -> None:
    rows: list[dict[str, Any]] = [
        {
            "key": metric,
            "value": 1 / (step + 1),
            "timestamp": step,
            "run_uuid": run,
            "step": step,
            "is_nan": 0,
        }
        for step in range(points)
    ]
    with sqlite3.connect(database, timeout=60) as into:
        _insert(into, "metrics", rows, has_workspace=False)
        _insert(into, "latest_metrics", rows[-1:], has_workspace=False)
    into.close()


def _insert(
    into: sqlite3.Connection, table: str, rows: list[dict[str, Any]], has_workspace: bool = True
) -> None:
    if has_workspace and table != "experiment_tags":
        rows = [{**row, "workspace": "default"} for row in rows]
    columns = ", ".join(rows[0])
    places = ", ".join("?" * len(rows[0]))
    statement = f"INSERT INTO {table} ({columns}) VALUES ({places})"
    into.executemany(statement, [tuple(row.values()) for row in rows])


def _plain_page(uri: str) -> float:
    """Milliseconds of what a page of models shows, as the client's own questions give it."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri, uri)

    def page() -> None:
        for model in client.search_registered_models(max_results=PAGE):
            client.search_model_versions(f"name = '{model.name}'")
            assert client.get_registered_model(model.name).aliases

    began = time.monotonic()
    page()
    return (time.monotonic() - began) * 1000


def _p95(ask: Callable[[], httpx.Response]) -> float:
    spent = []
    for _ in range(REPEATS):
        began = time.monotonic()
        ask().raise_for_status()
        spent.append((time.monotonic() - began) * 1000)
    return statistics.quantiles(spent, n=20)[-1]


def _median(ask: Callable[[], object]) -> float:
    spent = []
    for _ in range(3):
        began = time.monotonic()
        ask()
        spent.append((time.monotonic() - began) * 1000)
    return statistics.median(spent)


if __name__ == "__main__":
    main()
