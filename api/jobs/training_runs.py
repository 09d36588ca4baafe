"""What training jobs left in MLflow."""

from api.context import Platform
from assets.keys import asset_key
from assets.upstream import identity_of
from resources.tracking.adapter import REACHED_STEP_TAG, REACHED_TAG
from resources.tracking.runs import LoggedRun
from scheduler.jobs import Job


def runs_of(job: Job) -> list[str]:
    """The job's dagster_runs: the first, and those that repeated it."""
    return job.spec.get("dagster_runs") or [r for r in [job.dagster_run_id] if r]


def training_run(platform: Platform, job: Job) -> LoggedRun | None:
    """The mlflow_run of a training job, or None before there is one."""
    if job.dagster_run_id is None or job.kind != "train":
        return None
    key = asset_key(job.project, "checkpoint", job.name)
    return platform.experiments.of_job(job.project, identity_of(runs_of(job)[0], key))


def reached(platform: Platform, job: Job) -> str:
    """What a stopped training job had reached, in words; empty where it kept no checkpoint."""
    run = training_run(platform, job)
    if run is None or REACHED_TAG not in run.tags:
        return ""
    return f"checkpoint {run.tags[REACHED_STEP_TAG]} is kept at {run.tags[REACHED_TAG]}"
