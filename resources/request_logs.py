"""The door to request logs: what services were asked lately.

timeout, retry, cancel: local files; none.
duplicate: a request is logged by the one replica that answered it.
partial write: the last line may be cut by a crash and is passed over.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

MOST_ROWS = 2_000


class RecentRequests(NamedTuple):
    """The newest logged rows of a service."""

    inputs: np.ndarray
    """float64 of shape [rows, features]."""
    model_version: int


class RequestLogs:
    """Reads what services were asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recent(self, service: str) -> RecentRequests | None:
        """The newest rows of the version that answered last, or None when there are none."""
        entries = []
        for file in sorted((self._folder / service).glob("*.jsonl*")):
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    entries.append(json.loads(line))
                except json.JSONDecodeError:
                    continue
        if not entries:
            return None
        version = max(entries, key=lambda entry: entry["at"])["model_version"]
        ours = [entry for entry in entries if entry["model_version"] == version]
        newest = sorted(ours, key=lambda entry: entry["at"])[-MOST_ROWS:]
        return RecentRequests(np.array([e["inputs"] for e in newest], float), version)
