"""The adapter to request logs: what services were asked lately.

timeout, retry, cancel: local files have none; those in a bucket, where pods ship theirs, have the
    bucket's.
duplicate: a request is logged by the one replica that answered it.
partial write: the last line may be cut by a crash and is passed over.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resources.storage.object_store import ObjectStore

MOST_ROWS = 2_000


class RecentRequests(NamedTuple):
    """The newest logged rows of a service."""

    inputs: np.ndarray
    """float64 of shape [rows, features]."""
    model_version: int


class RequestLogs:
    """Reads what services were asked."""

    def __init__(self, folder: Path, objects: ObjectStore) -> None:
        self._folder, self._objects = folder, objects

    def files(self, service: str) -> list[Path]:
        """Files of the service's log on this machine; shipped ones are fetched. Raises OSError."""
        folder = self._folder / service
        if not self._objects.is_local:
            for key, size in self._objects.keys(f"requests/{service}/"):
                file = folder / key.removeprefix(f"requests/{service}/")
                if not file.exists() or file.stat().st_size != size:
                    self._objects.get_file(key, file)
        return sorted(folder.rglob("*.jsonl*"))

    def recent(self, service: str) -> RecentRequests | None:
        """The newest rows of the version that answered last, or None when there are none."""
        entries = []
        for file in self.files(service):
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
