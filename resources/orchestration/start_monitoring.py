"""Dagster's limit on the start of a dagster_run, which leaves out the time without room for it.

Dagster fails a dagster_run that has not started in time, and repeats it twice; a full cluster would
so fail what only has to wait.
"""

import logging
from typing import Any

from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.storage.dagster_run import RunRecord
from dagster._daemon.monitoring import run_monitoring


def wait_for_room() -> None:
    """Let the daemon of this process keep dagster_runs whose worker waits for room.

    Dagster has no public hook for it.
    """
    within_the_limit = run_monitoring.monitor_starting_run

    def monitor(instance: DagsterInstance, record: RunRecord, logger: logging.Logger) -> None:
        start_s = instance.run_monitoring_start_timeout_seconds
        if not _waits_for_room(instance.run_launcher, record, start_s):
            within_the_limit(instance, record, logger)

    run_monitoring.monitor_starting_run = monitor


def _waits_for_room(launcher: Any, record: RunRecord, start_s: float) -> bool:
    run = record.dagster_run
    waits = getattr(launcher, "waits_for_room", None)
    return (
        waits is not None and run.status == DagsterRunStatus.STARTING and waits(run.run_id, start_s)
    )
