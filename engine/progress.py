"""Progress of a job: lines an engine appends and its driver follows."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine import silence


@dataclass(frozen=True)
class Progress:
    """One report of a running job."""

    at: float
    """Seconds since the epoch."""
    done: int
    total: int | None
    """Units of work in all; None when the job cannot know."""
    unit: str
    message: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    left_s: float | None = None
    """Estimate of the seconds left."""
    ran_s: float | None = None
    """Seconds that the job has worked, as its driver measured them: without queues and nodes."""
    state: Literal["running", "waiting"] = "running"
    """Whether the job works, as its driver sees it, or waits for a queue, a node or an image."""
    reason: str = ""
    """What keeps the job from working, or its driver from seeing it; empty where nothing does."""

    def __str__(self) -> str:
        of = f"/{self.total}" if self.total else ""
        numbers = " ".join(f"{name}={value:.4g}" for name, value in self.metrics.items())
        left = f" ({self.left_s:.0f} s left)" if self.left_s is not None else ""
        return (
            " ".join(filter(None, (f"{self.unit} {self.done}{of}", self.message, numbers))) + left
        )


class ProgressLog:
    """Appends progress to the work directory and, in a terminal, draws a bar.

    The estimate of the time left is the mean pace of this attempt times the units left.
    """

    def __init__(
        self,
        workdir: Path,
        unit: str,
        total: int | None,
        first: int = 0,
        write: Callable[[str], None] | None = None,
    ) -> None:
        self._path = workdir / "progress.jsonl"
        self._write = write or self._append
        self._unit, self._total, self._first = unit, total, first
        self._started = time.monotonic()
        self._bar = _bar(unit, total, first)

    def report(self, done: int, message: str = "", metrics: dict[str, float] | None = None) -> None:
        """Record that `done` units are finished."""
        silence.heard()
        metrics = metrics or {}
        line = Progress(
            time.time(), done, self._total, self._unit, message, metrics, self._left_s(done)
        )
        self._write(json.dumps(asdict(line)) + "\n")
        if self._bar:
            self._bar.n = done
            self._bar.set_postfix_str(" ".join(f"{k}={v:.3g}" for k, v in metrics.items()))

    def _append(self, line: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self._bar:
            self._bar.close()

    def _left_s(self, done: int) -> float | None:
        advanced = done - self._first
        if not self._total or advanced <= 0:
            return None
        pace_s = (time.monotonic() - self._started) / advanced
        return round(pace_s * max(0, self._total - done), 1)


def _bar(unit: str, total: int | None, first: int) -> Any:
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    return tqdm(total=total, unit=unit, initial=first)


def follow(workdir: Path, offset: int = 0) -> Iterator[tuple[Progress, int]]:
    """Whole lines written since the offset, each with the offset behind it."""
    try:
        with (workdir / "progress.jsonl").open("rb") as file:
            file.seek(offset)
            for line, end in parse(file.read()):
                yield line, offset + end
    except FileNotFoundError:
        return


def parse(content: bytes) -> list[tuple[Progress, int]]:
    """Whole lines of the content, each with the place where it ends; the last may not be whole
    yet, and one that a killed engine left half written is passed over."""
    records: list[tuple[Progress, int]] = []
    end = 0
    for line in content.splitlines(keepends=True):
        end += len(line)
        if line.endswith(b"\n"):
            with contextlib.suppress(ValueError, TypeError):
                records.append((Progress(**json.loads(line)), end))
    return records


def history_of(workdir: Path) -> list[dict[str, float]]:
    """Reported metrics by step; what an attempt after a crash reported again replaces the old."""
    reported = {line.done: line.metrics for line, _ in follow(workdir) if line.metrics}
    return [{"step": step, **metrics} for step, metrics in sorted(reported.items())]
