"""Dagster's limit on the start of dagster_runs, with and without room for their workers."""

import logging
import time

import pytest
from dagster import DagsterInstance, DagsterRunStatus, job, op
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._daemon.monitoring import run_monitoring

from resources.orchestration import start_monitoring

START_S = 1
LOG = logging.getLogger(__name__)


@op
def nothing() -> None: ...


@job
def work() -> None:
    nothing()


class Launcher:
    """A launcher whose workers wait for room or do not."""

    def __init__(self, waits: bool) -> None:
        self._waits = waits

    def waits_for_room(self, run_id: str, start_s: float) -> bool:
        assert start_s == START_S
        return self._waits

    def get_run_worker_debug_info(self, run) -> str:
        return "the pod has not started"


@pytest.fixture
def instance():
    settings = {"run_monitoring": {"enabled": True, "start_timeout_seconds": START_S}}
    with DagsterInstance.local_temp(overrides=settings) as created:
        yield created


@pytest.mark.parametrize(
    ("waits", "expected"),
    [(True, DagsterRunStatus.STARTING), (False, DagsterRunStatus.FAILURE)],
)
def test_a_worker_that_waits_for_room_is_not_too_late(instance, monkeypatch, waits, expected):
    # Set back at the end, because the module is everybody's.
    monkeypatch.setattr(run_monitoring, "monitor_starting_run", run_monitoring.monitor_starting_run)
    start_monitoring.wait_for_room()
    monkeypatch.setattr(instance, "_run_launcher", Launcher(waits))
    run = instance.create_run_for_job(work)
    starting = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, run.job_name)
    instance.report_dagster_event(starting, run.run_id, timestamp=time.time() - 60)
    record = instance.get_run_record_by_id(run.run_id)

    run_monitoring.monitor_starting_run(instance, record, LOG)

    assert instance.get_run_by_id(run.run_id).status == expected
