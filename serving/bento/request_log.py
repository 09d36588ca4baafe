"""The request log: a bounded, sampled record of what was asked and answered.

Lines are JSON, in files of a part each, whose first line names the columns. The oldest files of the
folder, whichever replica wrote them, are deleted to keep it within the bound. A full disk costs log
lines, never answers; how many, a line of the log and `predict_log_rows` tell.
"""

import json
import os
import random
import sys
import threading
import time
from collections import Counter as Counts
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import Counter

FLUSH_S = 0.5
MOST_PENDING = 20_000
"""Rows that may wait to be written; what comes faster is not logged."""
PARTS = 16
"""Files that the bound is divided into."""
ROWS = Counter(
    "predict_log_rows",
    "Rows of answered requests: `written` to the request log, `sampled_out` as declared, or lost "
    "to it because too many were `pending` or the disk `failed`.",
    ["outcome"],
)
WRITTEN, SAMPLED_OUT, PENDING, FAILED = "written", "sampled_out", "pending", "failed"
LOST = (PENDING, FAILED)


class _Entry(NamedTuple):
    """One answered request."""

    at: float
    rows: Any
    """Values by position, as a list or an array."""
    answer: dict[str, Any]

    def lines(self) -> list[str]:
        """A line for each row, with its values by position."""
        rows = self.rows if isinstance(self.rows, list) else self.rows.tolist()
        return [
            json.dumps(
                {
                    "at": self.at,
                    "request_id": self.answer["request_id"],
                    "model_version": self.answer["model_version"],
                    "prediction": prediction,
                    "inputs": row,
                }
            )
            + "\n"
            for row, prediction in zip(rows, self.answer["predictions"], strict=True)
        ]


class RequestLog:
    """Appends sampled requests to files `NAME.TIME.jsonl` of a folder that all replicas of a
    service share."""

    def __init__(
        self, folder: Path, name: str, sample: float, megabytes: int, columns: Sequence[str] = ()
    ) -> None:
        """`megabytes` bound all files of the folder together."""
        self._header = json.dumps({"columns": list(columns)}) + "\n"
        self._folder, self._name, self._sample = folder, name, sample
        self._most = megabytes * 1_000_000
        self._pending: deque[_Entry] = deque()
        # Each is counted by one thread alone: what came by that which answers, what was taken by
        # that which writes.
        self._came = self._taken = 0
        self._passed_over = dict.fromkeys((SAMPLED_OUT, PENDING), 0)
        self._counted: Counts[str] = Counts()
        self._untold: Counts[str] = Counts()
        """Lost rows that no line of the log tells of."""
        self._is_failing = False
        folder.mkdir(parents=True, exist_ok=True)
        self._path = self._unfinished() or self._new_path()
        threading.Thread(target=self._flush_for_ever, name="request-log", daemon=True).start()

    @classmethod
    def from_env_vars(cls, columns: Sequence[str]) -> "RequestLog | None":
        """The log that REQUEST_LOG_FOLDER, _SAMPLE and _MEGABYTES ask for; None without folder.

        `columns` are the names of the values of a row.
        """
        folder = os.environ.get("REQUEST_LOG_FOLDER")
        if not folder:
            return None
        return cls(
            Path(folder),
            os.environ.get("REQUEST_LOG_NAME", "requests"),
            float(os.environ.get("REQUEST_LOG_SAMPLE", "1")),
            int(os.environ.get("REQUEST_LOG_MEGABYTES", "64")),
            columns,
        )

    def add(self, rows: Any, answer: dict[str, Any]) -> None:
        """Keep the rows of one request, if the sample says so."""
        if self._sample < 1 and random.random() >= self._sample:
            self._passed_over[SAMPLED_OUT] += len(rows)
        elif self._came - self._taken > MOST_PENDING:
            self._passed_over[PENDING] += len(rows)
        else:
            self._came += len(rows)
            self._pending.append(_Entry(time.time(), rows, answer))

    def _flush_for_ever(self) -> None:
        while True:
            time.sleep(FLUSH_S)
            self.flush()

    def flush(self) -> None:
        """Write what is pending."""
        lines: list[str] = []
        while self._pending:
            entry = self._pending.popleft()
            lines += entry.lines()
            self._taken += len(entry.rows)
        for outcome, rows in self._passed_over.items():
            self._count(outcome, rows - self._counted[outcome])
        try:
            while lines or self._untold.total():
                lines = self._append(lines)
            self._is_failing = False
        except OSError as error:
            self._count(FAILED, len(lines))
            if not self._is_failing:
                sys.stderr.write(f"requests are not logged: {error}\n")
            self._is_failing = True

    def _count(self, outcome: str, rows: int) -> None:
        if rows:
            ROWS.labels(outcome).inc(rows)
            self._counted[outcome] += rows
            if outcome in LOST:
                self._untold[outcome] += rows

    def _append(self, lines: list[str]) -> list[str]:
        """The lines that are left once the file has its part of the size. Raises OSError."""
        part = self._most // PARTS
        with self._path.open("ab") as file:
            size = file.tell()
            head = "" if size else self._header
            if told := dict(self._untold):
                head += json.dumps({"at": time.time(), "lost": told}) + "\n"
            end, taken = size + len(head), 0
            while taken < len(lines) and (end < part or not taken):
                end, taken = end + len(lines[taken]), taken + 1
            text = (head + "".join(lines[:taken])).encode()
            self._make_room(len(text))
            try:
                file.write(text)
                file.flush()
            except OSError:
                # Half a line would spoil the next one.
                os.truncate(self._path, size)
                raise
        if end >= part:
            self._path = self._new_path()
        self._untold.clear()
        self._count(WRITTEN, taken)
        return lines[taken:]

    def _make_room(self, size: int) -> None:
        """Delete the oldest files, whose replicas may be gone, so that so many bytes more are
        within the bound; one that is still appended to is made anew by its replica."""
        there, total = [], size + self._path.stat().st_size
        for entry in os.scandir(self._folder):
            # Another replica may have deleted it.
            with suppress(FileNotFoundError):
                if ".jsonl" in entry.name and entry.path != str(self._path):
                    there.append((entry.stat().st_mtime_ns, entry.stat().st_size, entry.path))
        total += sum(each for _, each, _ in there)
        for _, each, path in sorted(there):
            if total <= self._most:
                return
            with suppress(FileNotFoundError):
                os.unlink(path)
            total -= each

    def _new_path(self) -> Path:
        return self._folder / f"{self._name}.{time.time_ns() // 1_000:016d}.jsonl"

    def _unfinished(self) -> Path | None:
        """The file that the process before has written last, if it has these columns and a whole
        last line."""
        written = sorted(self._folder.glob(f"{self._name}.[0-9]*.jsonl"))
        if not written:
            return None
        try:
            with written[-1].open("rb") as file:
                is_ours = file.readline() == self._header.encode()
                file.seek(-1, os.SEEK_END)
                return written[-1] if is_ours and file.read() == b"\n" else None
        except OSError:
            return None
