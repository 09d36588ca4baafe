"""A small real engine for tests: counts, keeps checkpoints, and fails as it is told.

`python -m tests.cluster.counting SPEC` follows the engine contract as training does.
"""

import json
import os
import sys
import time
from pathlib import Path

from engine import lease
from engine.artefact import is_sealed, seal
from engine.progress import ProgressLog
from engine.protocol import JobResult, JobSpec, Refused, TryAgain, run_engine


class CountingSpec(JobSpec):
    """How far to count, and how it may go wrong."""

    steps: int
    step_s: float = 0.0
    artefact: Path | None = None
    """A folder that is read; its name comes back."""
    fails: str = ""
    """`refused`, `try_again`, or `dies` at the step of the same number as `fails_at`."""
    fails_at: int = -1


class CountingResult(JobResult):
    """What was counted."""

    counted: int = 0
    first: int = 0
    """Step at which this attempt began."""
    read: list[str] = []
    folder: Path | None = None
    pid: int = 0


def work(spec: CountingSpec) -> CountingResult:
    """The result of counting. Raises as it is told to."""
    lease.hold(spec.workdir)
    lease.stop_when_abandoned(spec.workdir, spec.lease_s)
    folders = sorted((spec.workdir / "checkpoints").glob("[0-9]*"))
    first = int(folders[-1].name) if folders and is_sealed(folders[-1]) else 0
    progress = ProgressLog(spec.workdir, "step", spec.steps, first)
    for step in range(first, spec.steps):
        if step == spec.fails_at and first == 0:
            _fail(spec.fails)
        time.sleep(spec.step_s)
        folder = spec.workdir / "checkpoints" / f"{step + 1:06d}"
        folder.mkdir(parents=True)
        (folder / "count").write_text(str(step + 1))
        seal(folder)
        progress.report(step + 1)
    files = spec.workdir / "files"
    files.mkdir()
    (files / "numbers.json").write_text(json.dumps(list(range(spec.steps))))
    read = sorted(p.name for p in spec.artefact.rglob("*")) if spec.artefact else []
    return CountingResult(counted=spec.steps, first=first, read=read, folder=files, pid=os.getpid())


def _fail(how: str) -> None:
    if how == "refused":
        raise Refused("it can never count")
    if how == "try_again":
        raise TryAgain("the numbers are away")
    os._exit(7)


if __name__ == "__main__":
    sys.exit(run_engine(CountingSpec, work, sys.argv))
