"""Work on the cluster that nobody waits for any more is ended."""

import time

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from resources.compute.contract import Compute
from resources.orchestration.run_workers import RunWorkers
from resources.services.local import Runtime

EVERY_S = 60
LATELY_S = 60
"""After its end a dagster_run may still be repeated, and its worker still stores its logs."""
WAITED_FOR = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


@dg.sensor(
    name="on_abandoned",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=EVERY_S,
    description="Deletes RayJobs and run pods of dagster_runs that have ended, and stops their "
    "deployments: their driver was killed and has no retry, or a pod was so late that its "
    "dagster_run was given up. What a retry will adopt is left. On the embedded default there is "
    "nothing to do: engines end with their driver.",
)
def on_abandoned(
    context: dg.SensorEvaluationContext,
    compute: dg.ResourceParam[Compute],
    run_workers: dg.ResourceParam[RunWorkers],
    runtime: dg.ResourceParam[Runtime],
) -> dg.SkipReason:
    """End what is abandoned."""

    def is_wanted(run_id: str) -> bool:
        return _is_waited_for(context.instance, run_id)

    def is_going(run_id: str) -> bool:
        record = context.instance.get_run_record_by_id(run_id)
        return record is not None and (record.end_time is None or _ended_lately(record))

    # A retry adopts the work of the dagster_run before it, and has a worker of its own.
    ended = [
        *compute.end_abandoned(is_wanted),
        *run_workers.end_abandoned(is_going),
        *runtime.end_abandoned(is_wanted),
    ]
    return dg.SkipReason(f"ended: {', '.join(ended)}" if ended else "nothing is abandoned")


def _is_waited_for(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the dagster_run, or a retry of it, is not over; or will be tried again."""
    run = instance.get_run_by_id(run_id)
    if run is None:
        return False
    retries = instance.get_runs(RunsFilter(tags={"dagster/root_run_id": run_id}))
    family = [run, *retries]
    if any(each.status in WAITED_FOR for each in family):
        return True
    newest = max(family, key=lambda each: int(each.tags.get("dagster/retry_number", "0")))
    if newest.status != DagsterRunStatus.FAILURE:
        return False
    # Dagster records a failure first, then whether it will repeat the dagster_run, then the retry,
    # which adopts the work.
    record = instance.get_run_record_by_id(newest.run_id)
    is_decided = newest.tags.get("dagster/will_retry")
    return is_decided == "true" or (
        is_decided is None and record is not None and _ended_lately(record)
    )


def _ended_lately(record: dg.RunRecord) -> bool:
    return record.end_time is not None and time.time() - record.end_time < LATELY_S
