"""Trials of one job that are measured: a file each, whole or not there.

A file is named by what its values come from, so that those of another model or suite are not taken
for them, and is never written again.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np

TRIALS = "trials"
"""Folder of a job's trials in its work directory."""
ENDING = ".npy"
SEARCH = "search"
"""Folder of the trials of a search, in which each has a folder with its records."""
REPORTS, RECORD = "progress.jsonl", "trial.json"
RECORDS = (REPORTS, RECORD)
"""What a trial of a search reported, and how it ended."""


class TrialFolder:
    """Values by the name of their trial."""

    def __init__(self, folder: Path, identity: str) -> None:
        """`identity` names what is tried, and by what."""
        self._folder, self._identity = folder, identity
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str) -> np.ndarray | None:
        """The values of the trial; None where they are not kept whole."""
        try:
            return np.load(self._file(name))
        # A machine that lost its power may have kept the name and not the content.
        except (FileNotFoundError, ValueError, EOFError):
            return None

    def keep(self, name: str, values: np.ndarray) -> None:
        """Keep the values of the trial. Raises OSError on a full or read-only disk."""
        file = self._file(name)
        draft = file.with_suffix(".draft")
        try:
            with draft.open("wb") as target:
                np.save(target, values, allow_pickle=False)
            os.replace(draft, file)
        finally:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(list(self._folder.glob(f"*{ENDING}")))

    def _file(self, name: str) -> Path:
        digest = hashlib.sha256(f"{self._identity}\n{name}".encode()).hexdigest()
        return self._folder / f"{digest}{ENDING}"
