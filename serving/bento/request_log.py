"""The request log: a bounded, sampled record of what was asked and answered.

Lines are JSON, the first of a file names the columns; two files of half the size bound the whole.
A full disk costs log lines, never answers.
"""

import json
import os
import random
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

FLUSH_S = 0.5
MOST_PENDING = 20_000
"""Rows that may wait to be written; what comes faster is not logged."""


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
    """Appends sampled requests to `PORT.jsonl`, and keeps one older file beside it."""

    def __init__(
        self, folder: Path, name: str, sample: float, megabytes: int, columns: Sequence[str] = ()
    ) -> None:
        self._header = json.dumps({"columns": list(columns)}) + "\n"
        self._path = folder / f"{name}.jsonl"
        self._sample, self._half = sample, megabytes * 1_000_000 // 2
        self._pending: list[_Entry] = []
        self._pending_rows = 0
        self._is_failing = False
        folder.mkdir(parents=True, exist_ok=True)
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
        is_drawn = self._sample >= 1 or random.random() < self._sample
        if not is_drawn or self._pending_rows > MOST_PENDING:
            return
        self._pending.append(_Entry(time.time(), rows, answer))
        self._pending_rows += len(rows)

    def _flush_for_ever(self) -> None:
        while True:
            time.sleep(FLUSH_S)
            self.flush()

    def flush(self) -> None:
        """Write what is pending."""
        taken, self._pending, self._pending_rows = self._pending, [], 0
        lines = [line for entry in taken for line in entry.lines()]
        try:
            while lines:
                lines = self._append(lines)
            self._is_failing = False
        except OSError as error:
            if not self._is_failing:
                sys.stderr.write(f"requests are not logged: {error}\n")
            self._is_failing = True

    def _append(self, lines: list[str]) -> list[str]:
        """The lines that are left once the file has its half of the size and was put aside."""
        with self._path.open("a", encoding="utf-8") as file:
            # Each file begins with the names, because another version may have other columns.
            size = file.tell() or file.write(self._header)
            for index, line in enumerate(lines):
                if size > self._half:
                    self._path.replace(self._path.with_suffix(".jsonl.1"))
                    return lines[index:]
                size += file.write(line)
        return []
