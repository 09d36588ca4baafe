"""Errors of the doors, told to Dagster as what will heal and what will not."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from assets.upstream import UpstreamMissing
from engine.artefact import ArtefactCorrupt
from resources.columns import UnusableColumns
from resources.compute import JobLost, JobRefused
from resources.mlflow_connection import TrackingUnavailable
from resources.object_store import ObjectMissing
from resources.runtime import DeploymentFailed, RuntimeAbsent
from resources.sources import SourceUnreadable

FINAL = (
    ArtefactCorrupt,
    DeploymentFailed,
    JobLost,
    JobRefused,
    ObjectMissing,
    RuntimeAbsent,
    SourceUnreadable,
    UnusableColumns,
    UpstreamMissing,
)
PASSING = (TrackingUnavailable, OSError)
RETRIES = 3
RETRY_AFTER_S = 2


@contextmanager
def told() -> Iterator[None]:
    """Raise the doors' errors as dg.Failure (final) or dg.RetryRequested (will heal)."""
    try:
        yield
    except FINAL as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    except PASSING as error:
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=RETRY_AFTER_S) from error
