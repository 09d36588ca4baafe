"""What `orrery gc` takes to plan by the number of dagster_runs.

`python -m benchmarks collection`. Each size is a state folder of SQLite with so many ended
dagster_runs, each with its file, its tags and a materialisation of one of a hundred datasets.
"""

import json
import math
import os
import shutil
import statistics
import time
import uuid
from pathlib import Path

import dagster as dg
from rich.table import Table
from sqlalchemy import text

from benchmarks.measure import console, in_turns, temporary_state
from resources import adapters
from resources.collection.collector import Collector
from resources.collection.world import Places
from resources.datasets.store import DatasetStore
from resources.declarations import Declarations
from resources.kubernetes_api.settings import ClusterSettings
from resources.orchestration.events import DagsterEvents
from resources.orchestration.history import RunHistory
from resources.settings import CHECKOUT, Settings
from resources.storage.evidence import EvidenceStore
from resources.tracking.adapter import Tracking

SIZES = (1_000, 10_000)
REPEATS = 3
DATASETS = 100
DAY_S = 86_400.0


def main() -> None:
    """Print the time by the number of dagster_runs, and the exponent between the two."""
    os.environ["DAGSTER_HOME"] = str(CHECKOUT)
    os.environ["ORRERY_RETENTION_RUNS_DAYS"] = "30"
    medians = {}
    for size in SIZES:
        with temporary_state():
            collector = _filled(size)
            values = in_turns({"plan": lambda made=collector: _planned(made)}, REPEATS)
            medians[size] = statistics.median(values["plan"])
    exponent = math.log(medians[SIZES[1]] / medians[SIZES[0]]) / math.log(SIZES[1] / SIZES[0])
    table = Table("dagster_runs", "plan s", title=f"orrery gc: exponent {exponent:.2f} (aim: <= 1)")
    for size, median in medians.items():
        table.add_row(str(size), f"{median:.2f}")
    console.print(table)


def _planned(collector: Collector) -> float:
    began = time.perf_counter()
    plan = collector.plan()
    assert plan.chosen
    return time.perf_counter() - began


def _filled(size: int) -> Collector:
    settings, cluster, events = Settings(), ClusterSettings(), DagsterEvents()
    fill(events.instance, size)
    objects = adapters.object_store(settings)
    places = Places(
        settings,
        objects,
        DatasetStore(objects),
        EvidenceStore(objects),
        Tracking(settings.tracking_uri, settings.mlflow_artifacts, settings.mlflow_url),
        adapters.runtime(settings, cluster),
        RunHistory(events),
        list,
    )
    return Collector(places, events, Declarations(settings).load)


def fill(instance: dg.DagsterInstance, size: int) -> None:
    """Write so many ended dagster_runs: the first one as Dagster does, the others as its copies."""

    @dg.asset(key=["bench", "dataset", "rows"])
    def rows() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("0"))

    first = dg.materialize([rows], instance=instance).run_id
    ids = [str(uuid.uuid4()) for _ in range(size)]
    file = Path(instance.event_log_storage.path_for_shard(first))  # type: ignore[attr-defined]
    for run_id in ids:
        shutil.copyfile(file, file.with_name(f"{run_id}.db"))
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        _copy_runs(connection, first, ids)
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        _copy_events(connection, first, ids)


def _copy_runs(connection: object, first: str, ids: list[str]) -> None:
    row = (
        connection.execute(  # type: ignore[attr-defined]
            text("SELECT * FROM runs WHERE run_id = :id"), {"id": first}
        )
        .mappings()
        .one()
    )
    ended = time.time() - 40 * DAY_S
    copies = [
        {
            **row,
            "id": None,
            "run_id": run_id,
            "run_body": row["run_body"].replace(first, run_id),
            "start_time": ended,
            "end_time": ended,
        }
        for run_id in ids
    ]
    _insert(connection, "runs", copies)


def _copy_events(connection: object, first: str, ids: list[str]) -> None:
    row = (
        connection.execute(  # type: ignore[attr-defined]
            text(
                "SELECT * FROM event_logs WHERE run_id = :id "
                "AND dagster_event_type = 'ASSET_MATERIALIZATION'"
            ),
            {"id": first},
        )
        .mappings()
        .one()
    )
    base = 1_000_000
    events = [
        {**row, "id": base + n, "run_id": run_id, "event": row["event"].replace(first, run_id)}
        for n, run_id in enumerate(ids)
    ]
    _insert(connection, "event_logs", events)
    tags = [
        {
            "event_id": base + n,
            "asset_key": json.dumps(["bench", "dataset", f"rows{n % DATASETS}"]),
            "key": "dagster/data_version",
            "value": str(n),
        }
        for n in range(len(ids))
    ]
    _insert(connection, "asset_event_tags", tags)


def _insert(connection: object, table: str, rows: list[dict]) -> None:
    names = [name for name in rows[0] if rows[0][name] is not None or name != "id"]
    places = ", ".join(f":{name}" for name in names)
    statement = text(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})")
    connection.execute(statement, [{n: row[n] for n in names} for row in rows])  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
