"""Progress of a followed job: a bar of tqdm where there is tqdm, else plain lines."""

import sys
import time
import warnings
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

from orrery.answers.jobs import LogLine, Progress
from orrery.extras import found

FEWEST_S = 1.0
"""Seconds between two lines of progress, where they cannot be written over each other."""
MOST_METRICS = 4


class Display(Protocol):
    """What shows how a job goes on."""

    def show(self, line: LogLine) -> None:
        """Take in a line of the log."""
        ...

    def end(self, text: str) -> None:
        """Say how it ended."""
        ...


class Nothing:
    """Shows nothing."""

    def show(self, line: LogLine) -> None:
        """Nothing."""

    def end(self, text: str) -> None:
        """Nothing."""


class Log:
    """Writes the lines of the log."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def show(self, line: LogLine) -> None:
        """Write the line."""
        if line.kind != "event":
            self._write(f"{line.at.astimezone():%H:%M:%S} {line.text}")

    def end(self, text: str) -> None:
        """Write how it ended."""
        self._write(text)

    def _write(self, text: str) -> None:
        self._file.write(f"{text}\n")
        self._file.flush()


class Lines:
    """Writes a line of progress now and then."""

    def __init__(self, name: str, file: TextIO) -> None:
        self._name, self._file = name, file
        self._written_at = float("-inf")

    def show(self, line: LogLine) -> None:
        """Write how far it is, if it was not written just now."""
        now = time.monotonic()
        if line.progress is None or now - self._written_at < FEWEST_S:
            return
        self._written_at = now
        self.end(told(line.progress))

    def end(self, text: str) -> None:
        """Write how it ended."""
        self._file.write(f"{self._name}: {text}\n")
        self._file.flush()


class Bar:
    """A bar of tqdm, in a terminal or in a notebook."""

    def __init__(self, name: str, tqdm: Any) -> None:
        self._bar = tqdm(desc=name, dynamic_ncols=True, leave=True)

    def show(self, line: LogLine) -> None:
        """Move the bar."""
        progress = line.progress
        if progress is None:
            return
        self._bar.unit = f" {progress.unit}"
        self._bar.total = progress.total
        self._bar.set_postfix(shown_metrics(progress.metrics), refresh=False)
        self._bar.n = progress.done
        self._bar.refresh()

    def end(self, text: str) -> None:
        """Close the bar."""
        self._bar.set_postfix_str(text)
        self._bar.close()


def display(name: str, show: str | bool, file: TextIO | None = None) -> Display:
    """What shows a job as asked: `bar`, `log`, True for a bar, or False for nothing.

    Raises ValueError for something else.
    """
    out = file or sys.stderr
    if show is False:
        return Nothing()
    if show == "log":
        return Log(out)
    if show not in (True, "bar"):
        raise ValueError(f"got show={show!r}, expected 'bar', 'log', True or False")
    tqdm = _tqdm() if file is None and (sys.stderr.isatty() or in_notebook()) else None
    return Bar(name, tqdm) if tqdm else Lines(name, out)


def _tqdm() -> Any:
    with warnings.catch_warnings():
        # In a notebook without ipywidgets it warns, and draws its bar in text.
        warnings.simplefilter("ignore")
        module = found("tqdm.auto")
    return module.tqdm if module else None


def in_notebook() -> bool:
    """Whether this is a kernel of Jupyter."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def told(progress: Progress) -> str:
    """The progress in a line: `epoch 3/12, loss 0.21, 14 s left`."""
    total = f"/{progress.total}" if progress.total is not None else ""
    parts = [f"{progress.unit} {progress.done}{total}"]
    parts += [f"{name} {value}" for name, value in shown_metrics(progress.metrics).items()]
    if progress.left_s is not None:
        parts.append(f"{progress.left_s:.0f} s left")
    return ", ".join(parts)


def shown_metrics(metrics: Mapping[str, float]) -> dict[str, str]:
    """The first metrics, short."""
    return {name: f"{value:.4g}" for name, value in list(metrics.items())[:MOST_METRICS]}
