"""Starting the dagster_run of a job, which its dispatcher has claimed."""

import asyncio
import contextlib

from starlette.concurrency import run_in_threadpool

from api.context import Platform
from resources.database.control import ControlUnavailable
from resources.orchestration.graphql import JOB_TAG, USER_TAG, DagsterGraphql
from scheduler import jobs
from scheduler.jobs import Job
from scheduler.states import Kind

FAMILIES: dict[Kind, str] = {
    "train": "models",
    "simulate": "simulations",
    "deploy": "services",
    "make": "datasets",
}
"""Parts of a declaration that jobs are about."""


class Launches:
    """Starts dagster_runs."""

    def __init__(self, platform: Platform, dagster: DagsterGraphql) -> None:
        self._platform, self._dagster = platform, dagster

    def is_declared(self, job: Job) -> bool:
        """Whether the project of the job declares what the job is about."""
        project = self._platform.projects.by_name(job.project)
        if project is None:
            return False
        return job.name in getattr(project.declaration, FAMILIES[job.kind])

    async def start(self, job: Job) -> str:
        """Id of the new dagster_run.

        Raises LaunchRefused or DagsterUnavailable.
        """
        # Dagster may take longer than a claim lasts, and another gateway would start it again.
        renewing = asyncio.create_task(self._renew_claim(job))
        launch = job.spec["launch"]
        tags = {
            JOB_TAG: job.id,
            USER_TAG: job.created_by,
            "orrery/organization": job.organization_id,
        }
        try:
            return await self._dagster.launch(
                launch["job"], launch["assets"], launch["config"], tags, job.created_by
            )
        finally:
            renewing.cancel()

    async def _renew_claim(self, job: Job) -> None:
        while True:
            await asyncio.sleep(jobs.CLAIM_S / 3)
            with contextlib.suppress(ControlUnavailable):
                await run_in_threadpool(self._renew, job)

    def _renew(self, job: Job) -> None:
        with self._platform.control.write() as connection:
            jobs.renew_claim(connection, job.id)
