"""Trials of a suite, one after the other: each is measured once, kept for a later attempt of the
job, and reported while it runs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from engine.progress import ProgressLog
from engine.trial_folder import TRIALS, TrialFolder

REPORT_EVERY_S = 2.0


class Measurer(Protocol):
    """What a suite's trials are measured by."""

    def measure(self, name: str, measured: Callable[[], np.ndarray]) -> np.ndarray:
        """The values of the trial of this name."""
        ...

    def still_at(self, message: str) -> None:
        """Hear that a long trial goes on."""
        ...


class Unrecorded:
    """Measures every trial, and keeps and reports nothing."""

    def measure(self, name: str, measured: Callable[[], np.ndarray]) -> np.ndarray:
        """The values of the trial, measured now."""
        return measured()

    def still_at(self, message: str) -> None:
        """Nothing."""


UNRECORDED = Unrecorded()


class Trials:
    """What is measured so far, by the name of the trial."""

    def __init__(self, workdir: Path, total: int, identity: str) -> None:
        """`total` is the number of trials in all; `identity` names the model and the suite, whose
        trials alone are taken up."""
        self._folder = TrialFolder(workdir / TRIALS, identity)
        self._resumed = min(len(self._folder), total)
        self._done = 0
        self._progress = ProgressLog(workdir, "trial", total, self._resumed)
        self._reported_at = time.monotonic()
        resumed = f"resuming after {self._resumed} trials" if self._resumed else "trials start"
        self._progress.report(self._resumed, resumed)

    def measure(self, name: str, measured: Callable[[], np.ndarray]) -> np.ndarray:
        """The values of the trial: those that an earlier attempt kept, or measured now, and kept.

        Raises OSError where the disk takes them not.
        """
        values = self._folder.get(name)
        if values is None:
            values = measured()
            self._folder.keep(name, values)
        self._done += 1
        # Trials of an earlier attempt are replayed silently, so that progress never goes back.
        if self._done > self._resumed:
            self._report(self._done, name)
        return values

    def still_at(self, message: str) -> None:
        """Report that a long trial goes on, every `REPORT_EVERY_S`."""
        if time.monotonic() - self._reported_at > REPORT_EVERY_S:
            self._report(max(self._done, self._resumed), message)

    def close(self) -> None:
        """Leave the terminal tidy."""
        self._progress.close()

    def _report(self, done: int, message: str) -> None:
        self._progress.report(done, message)
        self._reported_at = time.monotonic()
