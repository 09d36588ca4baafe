"""Errors of the adapters, as Dagster's: a refusal ends the step, an outage is waited for."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from assets.upstream import UpstreamMissing
from engine.artefact import ArtefactCorrupt
from engine.protocol import is_outage
from projects.trainers import TrainerUnreadable, UnusableHyperparameters
from resources.compute.contract import JobFailed
from resources.datasets.columns import UnusableColumns
from resources.datasets.sources import SourceUnreadable
from resources.gate import GateRefused
from resources.orchestration.failed_steps import CAUSE, LINES
from resources.services.local import DeploymentFailed, RuntimeAbsent
from resources.storage.object_store import ObjectMissing
from resources.tracking.connection import TrackingRefused, TrackingUnavailable

FINAL = (
    ArtefactCorrupt,
    DeploymentFailed,
    GateRefused,
    ObjectMissing,
    RuntimeAbsent,
    SourceUnreadable,
    TrackingRefused,
    TrainerUnreadable,
    UnusableColumns,
    UnusableHyperparameters,
    UpstreamMissing,
)
OF_DATA = (SourceUnreadable, UnusableColumns)
ENDLESS = 1_000_000
"""Dagster wants a number; an outage ends when it ends, or when somebody stops the job."""
PAUSES_S = (2, 5, 15, 30, 60)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise the adapters' errors as dg.Failure (final) or dg.RetryRequested (an outage)."""
    try:
        yield
    except JobFailed as error:
        # The compute adapter has already tried a lost job several times (contract.ATTEMPTS).
        why = {CAUSE: error.cause, LINES: dg.MetadataValue.json(error.lines)}
        raise dg.Failure(description=str(error), metadata=why, allow_retries=False) from error
    except FINAL as error:
        why = {CAUSE: "bad_data" if isinstance(error, OF_DATA) else "refused"}
        raise dg.Failure(description=str(error), metadata=why, allow_retries=False) from error
    except (TrackingUnavailable, OSError) as error:
        if isinstance(error, OSError) and not is_outage(error):
            raise dg.Failure(description=str(error), allow_retries=False) from error
        raise _again_later(error) from error


def _again_later(error: Exception) -> dg.RetryRequested:
    context = dg.OpExecutionContext.get()
    pause_s = PAUSES_S[min(context.retry_number, len(PAUSES_S) - 1)]
    context.log.warning(f"waits for an outage to end, and tries again in {pause_s} s: {error}")
    return dg.RetryRequested(max_retries=ENDLESS, seconds_to_wait=pause_s)
