"""Stops jobs on request."""

from sqlalchemy import Connection

from api.context import Platform
from api.jobs import callbacks
from scheduler import jobs
from scheduler.jobs import Job


def stop(platform: Platform, connection: Connection, job: Job, reason: str) -> Job:
    """The job, stopped at once or stopping; its callback is owed in the same transaction."""
    current = jobs.ask_to_stop(connection, job, reason)
    # The dispatcher never looks at a job again for which nothing was started.
    if current.has_ended and not job.has_ended:
        callbacks.owe(connection, current, platform)
    return current
