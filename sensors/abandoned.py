"""Work on the cluster that nobody waits for any more is ended."""

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from resources.compute.contract import Compute

EVERY_S = 60
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
    description="Deletes RayJobs and run pods of dagster_runs that have ended: their driver was "
    "killed and has no retry, or a pod was so late that its dagster_run was given up. What a retry "
    "will adopt is left. On the embedded default there is nothing to do: engines end with their "
    "driver.",
)
def on_abandoned(
    context: dg.SensorEvaluationContext, compute: dg.ResourceParam[Compute]
) -> dg.SkipReason:
    """End what is abandoned."""

    def is_wanted(run_id: str) -> bool:
        return _is_waited_for(context.instance, run_id)

    ended = compute.end_abandoned(is_wanted)
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
    # Dagster sets `will_retry` before it creates the retry, which then adopts the work.
    newest = max(family, key=lambda each: int(each.tags.get("dagster/retry_number", "0")))
    return newest.tags.get("dagster/will_retry") == "true"
