"""Dagster_runs that ended long ago, with events and files as real ones have them."""

import time
import uuid

import dagster as dg
from sqlalchemy import text

DAY_S = 86_400.0


def old_runs(instance: dg.DagsterInstance, count: int, project: str, days: float = 40) -> list[str]:
    """Ids of new dagster_runs of the project, which failed so many days ago."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    for run_id in ids:
        run = dg.DagsterRun(
            job_name=f"turn_{project}",
            run_id=run_id,
            status=dg.DagsterRunStatus.NOT_STARTED,
            tags={"project": project} if project else {},
        )
        instance.add_run(run)
        instance.report_run_failed(run)
    age(instance, ids, days)
    return ids


def age(instance: dg.DagsterInstance, ids: list[str], days: float) -> None:
    """Let the dagster_runs have ended so many days ago."""
    with instance.run_storage.connect() as connection:
        for run_id in ids:
            connection.execute(
                text("UPDATE runs SET start_time = :at, end_time = :at WHERE run_id = :id"),
                {"at": time.time() - days * DAY_S, "id": run_id},
            )
