"""The adapter to request logs: what services were asked lately.

timeout, retry, cancel: local files have none; those in a bucket, where pods ship theirs, have the
    bucket's.
duplicate: a request is logged by the one replica that answered it.
partial write: the last line may be cut by a crash and is passed over. A file that its replica
    deletes while it is looked for, as the oldest of a full log, is passed over.
"""

import hashlib
import heapq
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from resources.storage.log_lines import columns_of, newest_first
from resources.storage.object_store import ObjectStore

MOST_ROWS = 2_000
MOST_VALUES, FEWEST_ROWS = 1_000_000, 100
"""Wide rows are fewer, but not fewer than these."""
MOST_LOOKED_AT = 10 * MOST_ROWS
"""Rows of all versions among which those of one are looked for."""
CLOCKS_S = 60.0
"""How far the clocks of replicas, and of the bucket, may be apart."""


class RecentRequests(NamedTuple):
    """The newest logged rows of a service."""

    rows: list[list[Any]]
    """Values by position."""
    columns: list[str]
    """Names of the values; none where the model's rows have no columns."""
    model_version: int


class LogFile(NamedTuple):
    """One file of a log, that of a bucket where it lies once it is fetched."""

    path: Path
    size: int
    """Bytes."""
    modified: float
    """When it was appended to last, in seconds since the epoch."""
    key: str | None
    """Of the object; None for a file of this machine."""


class RequestLogs:
    """Reads what services were asked."""

    def __init__(self, folder: Path, objects: ObjectStore) -> None:
        self._folder, self._objects = folder, objects

    def files(self, service: str) -> list[Path]:
        """Files of the service's log on this machine; shipped ones are fetched. Raises OSError."""
        listed = self._listed(service)
        if not self._objects.is_local:
            self._forget_others(service, {file.path for file in listed})
        files = []
        for file in listed:
            with suppress(FileNotFoundError):
                files.append(self._here(file))
        return sorted(files)

    def mark(self, service: str) -> str:
        """Another text whenever something was logged; empty while nothing is. Raises OSError."""
        listed = sorted(self._listed(service))
        said = "\n".join(f"{file.path} {file.size} {file.modified}" for file in listed)
        return hashlib.sha256(said.encode()).hexdigest() if listed else ""

    def recent(self, service: str) -> RecentRequests | None:
        """The newest rows of the version that answered last, or None when there are none.

        They cost the same however much is logged. Raises OSError.
        """
        files = sorted(self._listed(service), key=lambda file: -file.modified)
        newest = self._newest(files)
        if newest is None:
            return None
        last, file = newest
        version = last["model_version"]
        most = max(FEWEST_ROWS, min(MOST_ROWS, MOST_VALUES // max(1, len(last["inputs"]))))
        rows = self._rows(files, version, most)
        return RecentRequests(rows, columns_of(file), version)

    def _newest(self, files: list[LogFile]) -> tuple[dict[str, Any], Path] | None:
        """The request that was answered last, and its file."""
        newest = None
        for file in files:
            # What was appended last is no newer than the file.
            if newest and file.modified + CLOCKS_S < newest[0]["at"]:
                break
            last = next(self._requests(file), None)
            if last and (newest is None or last["at"] > newest[0]["at"]):
                newest = (last, file.path)
        return newest

    def _rows(self, files: list[LogFile], version: int, most: int) -> list[list[Any]]:
        """The newest rows that the version answered, at most so many, the oldest first."""
        found: list[tuple[float, int, list[Any]]] = []
        looked_at = 0
        for file in files:
            is_older = len(found) == most and file.modified + CLOCKS_S < found[0][0]
            if is_older or looked_at == MOST_LOOKED_AT:
                break
            for request in self._requests(file):
                if looked_at == MOST_LOOKED_AT:
                    break
                looked_at += 1
                # The rest of the file is older still.
                if len(found) == most and request["at"] <= found[0][0]:
                    break
                if request["model_version"] == version:
                    # Numbered, so that no rows of one time are compared.
                    row = (request["at"], looked_at, request["inputs"])
                    push = heapq.heappush if len(found) < most else heapq.heappushpop
                    push(found, row)
        return [inputs for _, _, inputs in sorted(found)]

    def _requests(self, file: LogFile) -> Iterator[dict[str, Any]]:
        with suppress(FileNotFoundError):
            yield from newest_first(self._here(file))

    def _listed(self, service: str) -> list[LogFile]:
        folder, prefix = self._folder / service, f"requests/{service}/"
        # Where there is a bucket, what lies in folders here was fetched from it.
        found = folder.rglob if self._objects.is_local else folder.glob
        files = []
        for path in found("*.jsonl*"):
            with suppress(FileNotFoundError):
                there = path.stat()
                files.append(LogFile(path, there.st_size, there.st_mtime, None))
        if not self._objects.is_local:
            for key, size, modified in self._objects.listed(prefix):
                files.append(LogFile(folder / key.removeprefix(prefix), size, modified, key))
        return files

    def _here(self, file: LogFile) -> Path:
        """The file on this machine. Raises OSError."""
        is_whole = file.path.exists() and file.path.stat().st_size == file.size
        if file.key is not None and not is_whole:
            self._objects.get_file(file.key, file.path)
        return file.path

    def _forget_others(self, service: str, kept: set[Path]) -> None:
        """Delete what was fetched from the bucket and is gone there."""
        for path in (self._folder / service).glob("*/*.jsonl*"):
            # One that begins with a dot is being fetched.
            if path not in kept and not path.name.startswith("."):
                path.unlink(missing_ok=True)
