"""Trials of a search, and the folder that keeps them.

search/0003/trial.json      hyperparameters, and how it ended; written whole or not at all
search/0003/progress.jsonl  what it reported
search/0003/checkpoints/    what it can go on from, while it has not ended
"""

import shutil
from pathlib import Path
from typing import Any, Literal

from engine.checkpoints import CHECKPOINTS, newest_checkpoint
from engine.progress import history_of
from engine.protocol import Contract, write_atomically
from engine.trial_folder import RECORD, SEARCH
from training.worker import SCRATCH

State = Literal["running", "finished", "stopped", "failed"]


class Trial(Contract):
    """One training with values of its own."""

    number: int
    """From 0, in the order in which they were suggested."""
    values: dict[str, Any]
    """Value by hyperparameter of the search's ranges."""
    state: State = "running"
    """`stopped`: ended early, because others were better or the budget was used."""
    reason: str = ""
    """Why it failed or was stopped."""
    value: float | None = None
    """The last value of the search's metric."""
    reports: int = 0
    ran_s: float = 0.0
    """Time that its attempts have run."""
    after_s: float = 0.0
    """Time that the search had worked when it ended."""
    mlflow_run_id: str = ""


class TrialBook:
    """The trials of one job."""

    def __init__(self, workdir: Path) -> None:
        self._folder = workdir / SEARCH
        self._folder.mkdir(exist_ok=True)

    def trials(self) -> list[Trial]:
        """Every trial that was begun, by number."""
        files = sorted(self._folder.glob(f"[0-9]*/{RECORD}"))
        return sorted(
            (Trial.model_validate_json(file.read_bytes()) for file in files),
            key=lambda trial: trial.number,
        )

    def write(self, trial: Trial) -> None:
        """Keep the trial as it stands. Raises OSError on a full or read-only disk."""
        folder = self.folder(trial.number)
        folder.mkdir(exist_ok=True)
        write_atomically(folder / RECORD, trial.model_dump_json())

    def folder(self, number: int) -> Path:
        """Work directory of the trial."""
        return self._folder / f"{number:04d}"

    def history(self, number: int) -> list[dict[str, float]]:
        """Metrics that the trial reported, by number of the report, its `step`."""
        return history_of(self.folder(number))

    def checkpoint(self, number: int) -> Path | None:
        """Folder of the trial's newest whole checkpoint."""
        newest = newest_checkpoint(self.folder(number) / CHECKPOINTS)
        return newest[1] if newest else None

    def drop_files(self, number: int, *, is_left: bool = True) -> None:
        """Remove all but the record and the reports of a trial that has ended; its process may
        not have left the folder that it worked in."""
        for path in self.folder(number).iterdir():
            if path.is_dir() and (is_left or path.name != SCRATCH):
                shutil.rmtree(path, ignore_errors=True)
