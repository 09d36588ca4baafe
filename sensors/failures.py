"""What a failed dagster_run leaves open is closed."""

import dagster as dg

from resources.orchestration.run_projects import projects_of
from resources.tracking.adapter import Tracking
from resources.tracking.connection import TrackingRefused, TrackingUnavailable


@dg.run_failure_sensor(
    name="on_failure",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="When a dagster_run fails, also by a killed process, marks the mlflow_runs it left "
    "RUNNING as FAILED, with the reason, so that no experiment shows work that nobody does. A "
    "retry takes the same mlflow_run up again.",
)
def on_failure(
    context: dg.RunFailureSensorContext, tracking: dg.ResourceParam[Tracking]
) -> dg.SkipReason | None:
    """Close the mlflow_runs of a dagster_run that failed, unless a retry takes them up."""
    run = context.dagster_run
    if run.tags.get("dagster/will_retry") == "true":
        return dg.SkipReason(f"{run.run_id} is tried again, and keeps its mlflow_runs")
    reason = (context.failure_event.message or "no reason was recorded")[:1000]
    try:
        projects = [name for name in projects_of(run).split(",") if name]
        closed = tracking.close_runs_of(projects, run.root_run_id or run.run_id, reason)
    except (TrackingRefused, TrackingUnavailable) as error:
        return dg.SkipReason(str(error))
    context.log.error(f"{run.job_name} {run.run_id} failed: {reason} ({closed} mlflow_runs closed)")
    return None
