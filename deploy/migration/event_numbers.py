"""Numbers of Dagster's events: those of many SQLite files become those of one table.

Each dagster_run has a file that numbers its events from 1. Events about assets, checks and the
state of runs are also in `index.db`, which numbers them across runs, and these numbers are what
other rows refer to. One table needs one order: that of the index, with the events that only a
run's file has between those beside which they were recorded.
"""

import hashlib
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from deploy.migration.sqlite_files import read_only

INDEX = "index.db"
EVENTS = "SELECT id, run_id, event FROM event_logs ORDER BY id"


class Place(NamedTuple):
    """Where an event stands: at an event of the index, or behind it."""

    beside: int
    """Number of that event in the index."""
    is_behind: bool
    file: int
    number: int


class EventNumbers:
    """The new number of every event."""

    def __init__(self, folder: Path) -> None:
        self.index = folder / INDEX
        # The file `.db` has the events that belong to no dagster_run.
        self.runs = sorted(
            path for path in folder.iterdir() if path.name.endswith(".db") and path.name != INDEX
        )
        places = self._places()
        self._of_index: dict[int, int] = {}
        self._of_run: list[dict[int, int]] = [{} for _ in self.runs]
        for number, place in enumerate(sorted(places), 1):
            held = self._of_run[place.file] if place.is_behind else self._of_index
            held[place.number] = number
        self._indexed = sorted(self._of_index)
        self.count = len(places)

    def of_index(self, number: int) -> int:
        """New number of an event of the index; of the last one before it, where it is gone."""
        if number in self._of_index:
            return self._of_index[number]
        before = bisect_right(self._indexed, number)
        return self._of_index[self._indexed[before - 1]] if before else min(number, 0)

    def of_run(self, file: int, number: int) -> int | None:
        """New number of an event of a run's file; None for one that the index has too."""
        return self._of_run[file].get(number)

    def _places(self) -> list[Place]:
        both: dict[tuple[str, bytes], deque[int]] = defaultdict(deque)
        places, last = [], 0
        for last, run, digest in _events(self.index):
            both[run, digest].append(last)
            places.append(Place(last, False, 0, last))
        for file, path in enumerate(self.runs):
            places += self._places_in(file, path, both, last)
        return places

    def _places_in(
        self, file: int, path: Path, both: dict[tuple[str, bytes], deque[int]], last: int
    ) -> Iterator[Place]:
        """Places of the events that only the run's file has."""
        beside: int | None = None
        waiting: list[int] = []
        for number, run, digest in _events(path):
            same = both.get((run, digest))
            if same:
                # Equal events of a dagster_run are paired in their order.
                at = same.popleft()
                yield from (Place(at - 1, True, file, early) for early in waiting)
                waiting.clear()
                # Never smaller, because the order within the file has to stay.
                beside = at if beside is None else max(beside, at)
            elif beside is None:
                waiting.append(number)
            else:
                yield Place(beside, True, file, number)
        yield from (Place(last, True, file, number) for number in waiting)


def _events(path: Path) -> Iterator[tuple[int, str, bytes]]:
    """Number, dagster_run and digest of each event of a file, in order."""
    with read_only(path).connect() as connection:
        for number, run, event in connection.exec_driver_sql(EVENTS):
            yield number, run, hashlib.sha256(event.encode()).digest()[:16]
