"""The adapter to request logs: what services were asked lately.

timeout, retry, cancel: local files have none; those in a bucket, where pods ship theirs, have the
    bucket's.
duplicate: a request is logged by the one replica that answered it.
partial write: the last line may be cut by a crash and is passed over.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from resources.storage.object_store import ObjectStore

MOST_ROWS = 2_000


class RecentRequests(NamedTuple):
    """The newest logged rows of a service."""

    rows: list[list[Any]]
    """Values by position."""
    columns: list[str]
    """Names of the values; none where the model's rows have no columns."""
    model_version: int


class Entry(NamedTuple):
    """A line of a log."""

    number: int
    """Of the line, from 1."""
    text: str
    columns: list[str]
    """As the file names them."""
    content: dict[str, Any] | None
    """None where the line cannot be read."""


def entries_of(file: Path) -> Iterator[Entry]:
    """The entries of one file of a log; the last line may be cut by a crash."""
    columns: list[str] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            content = json.loads(line)
        except ValueError:
            content = None
        if isinstance(content, dict) and content.keys() == {"columns"}:
            columns = content["columns"]
            continue
        yield Entry(number, line, columns, content if isinstance(content, dict) else None)


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

    def mark(self, service: str) -> str:
        """Another text whenever something was logged; empty while nothing is. Raises OSError."""
        stats = [(str(file), file.stat()) for file in self.files(service)]
        return "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)

    def recent(self, service: str) -> RecentRequests | None:
        """The newest rows of the version that answered last, or None when there are none."""
        entries = [
            entry
            for file in self.files(service)
            for entry in entries_of(file)
            if entry.content and "at" in entry.content and "inputs" in entry.content
        ]
        if not entries:
            return None
        last = max(entries, key=_at)
        version = _content(last)["model_version"]
        ours = [entry for entry in entries if _content(entry)["model_version"] == version]
        newest = sorted(ours, key=_at)[-MOST_ROWS:]
        return RecentRequests([_content(e)["inputs"] for e in newest], last.columns, version)


def _content(entry: Entry) -> dict[str, Any]:
    assert entry.content is not None
    return entry.content


def _at(entry: Entry) -> float:
    return _content(entry)["at"]
