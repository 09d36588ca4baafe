"""The sweep ends what nobody waits for, and nothing that a retry may adopt."""

from collections.abc import Callable

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from sensors import abandoned
from sensors.abandoned import on_abandoned


class Places:
    """Work, workers and deployments of one dagster_run, wherever they are."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    def end_abandoned(self, is_wanted: Callable[[str], bool]) -> list[str]:
        return [] if is_wanted(self._run_id) else [f"of {self._run_id}"]


@dg.op
def nothing() -> None: ...


@dg.job
def work() -> None:
    nothing()


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as created:
        yield created


def started(instance, status=DagsterRunStatus.STARTED, **tags: str) -> str:
    named = {f"dagster/{name}": value for name, value in tags.items()}
    return instance.create_run_for_job(work, tags=named, status=status).run_id


def end(instance, run_id, status, **tags: str) -> None:
    run = instance.get_run_by_id(run_id)
    instance.add_run_tags(run_id, {f"dagster/{name}": value for name, value in tags.items()})
    report = {
        DagsterRunStatus.FAILURE: instance.report_run_failed,
        DagsterRunStatus.CANCELED: instance.report_run_canceled,
    }[status]
    report(run)


def swept(instance, run_id) -> str:
    place = Places(run_id)
    context = dg.build_sensor_context(instance)
    said = on_abandoned(context, compute=place, run_workers=place, runtime=place)
    return said.skip_message


@pytest.fixture
def later(monkeypatch):
    """Lets nothing have ended lately."""
    monkeypatch.setattr(abandoned, "LATELY_S", 0.0)


def test_nothing_of_a_dagster_run_under_way_is_ended(instance, later):
    assert swept(instance, started(instance)) == "nothing is abandoned"


def test_everything_of_a_dagster_run_that_was_deleted_is_ended(instance):
    assert swept(instance, "gone") == "ended: of gone, of gone, of gone"


def test_what_a_killed_driver_left_is_kept_while_its_retry_is_not_decided(instance):
    run_id = started(instance)
    end(instance, run_id, DagsterRunStatus.FAILURE)
    assert swept(instance, run_id) == "nothing is abandoned"


def test_once_there_is_no_retry_it_is_ended(instance, later):
    run_id = started(instance)
    end(instance, run_id, DagsterRunStatus.FAILURE)
    assert swept(instance, run_id) == f"ended: of {run_id}, of {run_id}, of {run_id}"


def test_of_a_dagster_run_that_is_repeated_the_worker_alone_is_ended(instance, later):
    run_id = started(instance)
    end(instance, run_id, DagsterRunStatus.FAILURE, will_retry="true")
    assert swept(instance, run_id) == f"ended: of {run_id}"
    started(instance, root_run_id=run_id, parent_run_id=run_id, retry_number="1")
    assert swept(instance, run_id) == f"ended: of {run_id}"


def test_the_work_of_a_stopped_dagster_run_is_ended_and_its_worker_has_time_for_its_logs(instance):
    run_id = started(instance)
    end(instance, run_id, DagsterRunStatus.CANCELED)
    assert swept(instance, run_id) == f"ended: of {run_id}, of {run_id}"
