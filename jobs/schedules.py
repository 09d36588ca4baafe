"""What starts by the clock."""

import dagster as dg

from assets.keys import op_name
from jobs.project_jobs import job_name
from projects.loading import LoadedProject


def build_schedules(project: LoadedProject) -> list[dg.ScheduleDefinition]:
    """The nightly simulation, where it is declared."""
    cron = project.declaration.automation.nightly_simulation
    if cron is None:
        return []
    return [
        dg.ScheduleDefinition(
            name=op_name(f"nightly_simulate_{project.name}"),
            job_name=job_name("simulate", project.name),
            cron_schedule=cron,
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Every night, try the newest model version in every suite again: what "
            "passed under an older suite or gate must pass under today's.",
        )
    ]
