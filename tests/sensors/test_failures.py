"""A failed dagster_run leaves no mlflow_run open."""

import dagster as dg
import pytest
from mlflow.tracking import MlflowClient

from resources.tracking.adapter import Tracking
from sensors.failures import on_failure


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    """MLflow on SQLite in a folder of the tests."""
    folder = tmp_path_factory.mktemp("mlflow")
    return Tracking(f"sqlite:///{folder / 'mlflow.db'}", (folder / "files").as_uri(), "http://ui")


@dg.op
def breaks():
    raise RuntimeError("the wing broke")


@dg.job(tags={"project": "birds"})
def breaking():
    breaks()


def fail(tracking, also=lambda run_id: None):
    """A dagster_run that failed after `also`, seen by the sensor; its id and the sensor's word."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = breaking.execute_in_process(instance=instance, raise_on_error=False)
        also(result.run_id)
        context = dg.build_run_status_sensor_context(
            "on_failure",
            result.get_run_failure_event(),
            instance,
            instance.get_run_by_id(result.run_id),
            resources={"tracking": tracking},
        ).for_run_failure()
        return result.run_id, on_failure(context)


def started(tracking, dagster_run, job):
    return tracking.run_for("birds", job, job, {"dagster.run_id": dagster_run}, {}, None).run_id


def state(tracking, run_id):
    result = MlflowClient(tracking.uri).get_run(run_id)
    return result.info.status, result.data.tags.get("orrery.failure")


def test_open_mlflow_run_of_a_failed_dagster_run_is_failed_with_the_reason(tracking):
    opened = []

    fail(tracking, lambda run_id: opened.append(started(tracking, run_id, f"job-{run_id}")))

    status, reason = state(tracking, opened[0])
    assert status == "FAILED"
    assert "breaks" in reason or "breaking" in reason


def test_open_mlflow_run_of_another_dagster_run_is_left_alone(tracking):
    other = started(tracking, "another", "job-of-another")

    fail(tracking)

    assert state(tracking, other) == ("RUNNING", None)


def test_finished_mlflow_run_of_a_failed_dagster_run_stays_finished(tracking):
    finished = []

    def finish(run_id):
        finished.append(started(tracking, run_id, f"finished-{run_id}"))
        tracking.end(finished[0], well=True)

    fail(tracking, finish)

    assert state(tracking, finished[0]) == ("FINISHED", None)


def test_unreachable_mlflow_is_told_and_does_not_break_the_sensor(tmp_path):
    (tmp_path / "not-a-folder").touch()
    unreachable = Tracking(f"sqlite:///{tmp_path}/not-a-folder/mlflow.db", "file:///", "http://ui")

    _, said = fail(unreachable)

    assert isinstance(said, dg.SkipReason)
    assert "mlflow.db" in said.skip_message
