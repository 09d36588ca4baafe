"""Compute as steps see it: run an engine job somewhere, follow it, and bring back its result.

Adapters: `resources.compute.local` (processes of this machine) and
`resources.compute.rayjob.adapter` (RayJobs).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, TypeVar

from engine.cause import Cause, lines_of
from engine.output import Output
from engine.progress import Progress
from engine.protocol import Failure, JobResult, JobSpec
from resources.compute.requirements import Requirements

R = TypeVar("R", bound=JobResult)
F = TypeVar("F", bound="JobFailed")
ATTEMPTS = 3


class JobFailed(Exception):
    """The job did not end well."""

    def __init__(self, message: str, cause: Cause = "refused", trace: str = "") -> None:
        super().__init__(message)
        self.cause: Cause = cause
        self.lines = lines_of(trace)
        """What of its trace or its log matters."""

    def told_as(self, kind: "type[F]", message: str) -> "F":
        """The same failure, of another kind or in other words."""
        told = kind(message, self.cause)
        told.lines = self.lines
        return told


class JobRefused(JobFailed):
    """The job can never work as it is asked for."""

    @classmethod
    def of(cls, failure: Failure) -> Self:
        """In the engine's own words."""
        message = f"{failure.message}\n{failure.detail}".strip()
        return cls(message, failure.cause, failure.detail)


class JobLost(JobFailed):
    """The job did not end well for reasons outside it; a later attempt may."""


@dataclass(frozen=True)
class Driver:
    """The dagster_run that waits for a job."""

    run: str = ""
    """Id of the first of its retries."""
    # Without a dagster_run there is no retry that could adopt the job.
    is_cancelled: Callable[[], bool] = lambda: True
    """Whether somebody has asked for it to end; an interrupted driver may just be lost."""
    is_deleted: Callable[[], bool] = lambda: False
    """Whether the dagster_run was deleted, so that nobody can ask for its end any more."""


NOBODY = Driver()
ANY = Requirements()
DELETED = "its dagster_run was deleted while the job ran, so the job was ended"


def ignore(_: Output) -> None:
    """Show nothing of what an engine prints."""


class Compute(Protocol):
    """What steps ask of the place where engines run."""

    ray_address: str | None

    def workdir(self, job: str) -> Path:
        """Folder of the job on this machine."""
        ...

    def ray_storage(self, job: str) -> str:
        """Where the checkpoints of several workers lie."""
        ...

    def loading(self, module: str, job: str) -> AbstractContextManager[None]:
        """Time in which the job is prepared, and its engine may load."""
        ...

    def run(
        self,
        module: str,
        spec: JobSpec,
        kind: type[R],
        on_progress: Callable[[Progress], None],
        on_output: Callable[[Output], None] = ignore,
        stall_s: float = 1_800,
        requirements: Requirements = ANY,
        driver: Driver = NOBODY,
    ) -> R:
        """The result of `python -m MODULE SPEC`. Raises JobRefused, JobLost, or OSError."""
        ...

    def lack_of(self, requirements: Requirements) -> str:
        """Why the place can never give a job what it needs; empty where it may."""
        ...

    def forget(self, job: str) -> None:
        """Remove what is left of the job."""
        ...

    def end_abandoned(self, is_wanted: Callable[[str], bool]) -> list[str]:
        """Names of what worked for dagster_runs that nobody waits for, and is ended now."""
        ...
