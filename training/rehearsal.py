"""The dry run before a training: `python -m training.rehearsal SPEC`.

The trainer learns for one unit from a few rows in a process of its own, and what it leaves is
exported as the real one will be. What a longer training on all rows could mend is not judged.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq

from engine.parent_death import die_with_parent
from engine.protocol import JobResult, Refused, end_process, run_engine
from training.contract import DatasetFiles, TrainingSpec
from training.data import SPLITS, AskedForTestRows, brought_here

LONGEST_S = 60.0
ROWS, LOOKED_THROUGH = 64, 10_000


def rehearse(spec: TrainingSpec) -> None:
    """Return when nothing speaks against the training. Raises Refused with the place of the
    declaration where its result could not be used, however long it trained."""
    began = time.monotonic()
    folder = spec.workdir / "dry-run"
    try:
        small = _small(spec, folder)
        failure = _failure_of(small)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        # A dry run that cannot be made is no evidence against the training.
        print(f"dry run: not made: {error}", flush=True)  # noqa: T201
        return
    print(f"dry run: {time.monotonic() - began:.0f} s: {failure or 'fits'}", flush=True)  # noqa: T201
    if failure:
        raise Refused(f"{spec.declared_at}{failure} (found by a dry run of one {spec.units[0]})")


def _small(spec: TrainingSpec, folder: Path) -> TrainingSpec:
    """The job with one unit of work and a few rows."""
    unit, total = spec.units
    return spec.model_copy(
        update={
            "job": f"{spec.job}-dry-run",
            "workdir": folder,
            "timeout_s": LONGEST_S,
            "hyperparameters": {
                **(spec.search.first_values if spec.search else {}),
                **spec.hyperparameters,
                **({f"{unit}s": 1} if total else {}),
            },
            "search": None,
            "workers": 1,
            "min_workers": 1,
            "gpus_per_worker": 0,
            "tracking": None,
            "dataset": _few_rows(spec, folder) if spec.dataset else None,
            "dry_run": False,
        }
    )


def _few_rows(spec: TrainingSpec, folder: Path) -> DatasetFiles:
    assert spec.dataset
    here = brought_here(spec.dataset.model_dump(exclude={"test"}), spec.workdir / "dataset")
    cut: dict[str, Any] = {}
    for split in (split for split in SPLITS if here[split]):
        file = folder / f"{split}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        table = ds.dataset(here[split]).head(LOOKED_THROUGH)
        # Rows from everywhere: files may be sorted by their class.
        step = max(1, len(table) // ROWS)
        pq.write_table(table.take(list(range(0, len(table), step))[:ROWS]), file)
        cut[split] = [str(file)]
    # What is learned is not judged, so test rows are left alone.
    return spec.dataset.model_copy(update={**cut, "test": cut["train"]})


def _failure_of(small: TrainingSpec) -> str:
    """Why the result of the small job cannot be used; empty where it can, or nobody knows."""
    process = subprocess.Popen(
        [sys.executable, "-m", "training.rehearsal", str(small.write())],
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        process.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        return ""
    finally:
        # The trainer may have started processes, which must not run beside the real training.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    result = JobResult.read(small.workdir)
    return result.failure.message if result and result.failure else ""


def work(spec: TrainingSpec) -> JobResult:
    """A result without failure, unless the export of what the trainer left is refused, or it asks
    for test rows."""
    from training.export import holds_model
    from training.main import fit, gather

    try:
        fitted = fit(spec, use_gpu=False)
    except AskedForTestRows:
        raise
    except (Exception, SystemExit) as error:
        # What fails on a few rows may work on all of them.
        print(f"the trainer raised {type(error).__name__}: {error}", flush=True)  # noqa: T201
        return JobResult()
    # A trainer may leave its model only after some epochs.
    if fitted.checkpoint and holds_model(fitted.checkpoint):
        gather(spec, fitted, "cpu")
    return JobResult()


if __name__ == "__main__":
    end_process(run_engine(TrainingSpec, work, sys.argv))
