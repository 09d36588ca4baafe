"""Which version of an upstream asset a step takes, so that concurrent jobs never mix.

First the one its own dagster_run (or the one it retries) made, else the newest.
"""

import hashlib
import time

import dagster as dg
from dagster import AssetExecutionContext, AssetKey, AssetMaterialization, DagsterRunStatus

from resources.compute.contract import Driver
from resources.database.control import made_at
from resources.orchestration.graphql import JOB_TAG

CANCELLED = (DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED)


class UpstreamMissing(Exception):
    """An upstream asset was never materialised."""


def upstream(context: AssetExecutionContext, key: AssetKey) -> AssetMaterialization:
    """The materialisation to build on. Raises UpstreamMissing."""
    if materialised := made_here(context, key):
        return materialised
    newest = context.instance.get_latest_materialization_event(key)
    if newest is None or newest.asset_materialization is None:
        raise UpstreamMissing(
            f"{key.to_user_string()} was never materialised; materialise it first, or run the "
            "job of the whole loop"
        )
    return newest.asset_materialization


def made_here(context: AssetExecutionContext, key: AssetKey) -> AssetMaterialization | None:
    """What the dagster_run of the step, or one that it retries, made of the asset; or None."""
    run = context.run
    own = [run.run_id, *filter(None, [run.parent_run_id, run.root_run_id])]
    for run_id in dict.fromkeys(own):
        if materialised := _made_by(context.instance, run_id, key):
            return materialised
    return None


def _made_by(
    instance: dg.DagsterInstance, run_id: str, key: AssetKey
) -> AssetMaterialization | None:
    # Newest first: a step that was tried again may have made the asset twice.
    records = instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION, ascending=False
    ).records
    for record in records:
        materialisation = record.event_log_entry.asset_materialization
        if materialisation is not None and materialisation.asset_key == key:
            return materialisation
    return None


def driver_of(context: AssetExecutionContext) -> Driver:
    """The dagster_run that waits for the step's outside work."""

    def is_cancelled() -> bool:
        run = context.instance.get_run_by_id(context.run.run_id)
        return run is None or run.status in CANCELLED

    def is_deleted() -> bool:
        return context.instance.get_run_by_id(context.run.run_id) is None

    return Driver(context.run.root_run_id or context.run.run_id, is_cancelled, is_deleted)


def requested_at(context: AssetExecutionContext) -> float:
    """When the step's work was requested, in seconds since the epoch.

    That is when its job was taken, or without a job its dagster_run was created; of an automatic
    retry, when the first one was. Somebody who executes a dagster_run again requests it anew.
    """
    run = context.run
    is_retry = "dagster/retry_number" in run.tags
    job = run.tags.get(JOB_TAG)
    if job is not None and (is_retry or run.parent_run_id is None):
        return made_at(job)
    first = (run.root_run_id if is_retry else None) or run.run_id
    record = context.instance.get_run_record_by_id(first)
    return record.create_timestamp.timestamp() if record else time.time()


def job_identity(context: AssetExecutionContext, key: AssetKey) -> str:
    """Identity of the outside work of this step: the same for every retry of its dagster_run."""
    return identity_of(context.run.root_run_id or context.run.run_id, key)


def identity_of(root_run: str, key: AssetKey) -> str:
    """Identity of the outside work that the asset's step has in a dagster_run and its retries."""
    return hashlib.sha256(f"{root_run}/{key.to_user_string()}".encode()).hexdigest()[:20]
