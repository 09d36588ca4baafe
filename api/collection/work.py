"""The work on one collection, with its record: what a process does that plans or removes.

timeout, retry: those of the adapters; a removal that another one keeps waiting is claimed again.
cancel, partial write: it may end at any moment; what it has done so far is noted each second, and
    whoever takes it up goes on.
duplicate: a second process finds that the plan is there, or waits for the lock of the collector.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from accounts import audit
from api.context import Platform
from engine import lease
from resources.collection.collector import Collector, Report
from resources.collection.item import Item, Kind, Sorted
from resources.collection.records import entries, records
from resources.collection.records.entries import Settled, entries_of
from resources.collection.records.records import RENEWED_EVERY_S, Record
from resources.collection.world import Places, Work
from resources.database.control import ControlUnavailable
from resources.datasets.store import DatasetStore
from resources.orchestration.history import RunHistory, values_of
from scheduler import jobs

NOTED_EVERY_S = 1.0
WAITS = "waits for another collection to end"
log = logging.getLogger(__name__)


class CollectionWork:
    """Plans and carries out one collection."""

    def __init__(self, platform: Platform, record: Record) -> None:
        """`record` is the caller's own: it has claimed it, or made it."""
        self._platform, self.id = platform, record.id
        self._collector = collector_of(platform, record)

    def plan(self) -> Sorted:
        """What would go now, as the record has it too. Raises what the adapters raise."""
        with self._renewed():
            plan = self._collector.plan()
            organization_of = self._platform.projects.organization_of
            with self._platform.control.write() as connection:
                records.plan(connection, self.id, list(entries_of(plan, organization_of)))
        return plan

    def begin(self, actor: str) -> bool:
        """Whether the caller may remove what is planned; who does so is audited."""
        with self._platform.control.write() as connection:
            if not records.begin(connection, self.id, is_mine=True):
                return False
            audit.record(
                connection,
                organization=self._platform.first_organization,
                actor=actor,
                action="collections.run",
                object=f"collection/{self.id}",
            )
        return True

    def remove(self, tell: Callable[[int], None] = lambda _: None) -> Report:
        """What became of what the record has as chosen; `tell` is given how many are done.

        Raises engine.lease.AlreadyRunning, and the record waits to be claimed again; or what the
        adapters raise.
        """
        with self._platform.control.read() as connection:
            numbers = entries.chosen(connection, self.id)
        with self._renewed():
            notes = _Notes(self._platform, self.id, numbers)

            def note(report: Report) -> None:
                notes.take(report)
                tell(len(report.removed) + len(report.failed))

            try:
                report = self._collector.carry_out(numbers.keys(), note)
            except lease.AlreadyRunning:
                with self._platform.control.write() as connection:
                    records.wait(connection, self.id, WAITS)
                raise
            notes.take(report, is_last=True)
        with self._platform.control.write() as connection:
            entries.settle_rest(connection, self.id)
            records.end(connection, self.id)
        return report

    def end(self, failure: str = "") -> None:
        """The collection is over: well, or with a failure."""
        with self._platform.control.write() as connection:
            records.end(connection, self.id, failure)

    @contextmanager
    def _renewed(self) -> Iterator[None]:
        """Renew the record until the end."""
        over = threading.Event()

        def renew() -> None:
            while not over.wait(RENEWED_EVERY_S):
                # Where the database stays away, the record lapses, and the work is taken up later.
                with (
                    contextlib.suppress(ControlUnavailable),
                    self._platform.control.write() as connection,
                ):
                    records.renew(connection, self.id)

        thread = threading.Thread(target=renew, name="renewal", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


class _Notes:
    """Writes down, once a second, what became of chosen things."""

    def __init__(self, platform: Platform, id: str, numbers: dict[tuple[Kind, str], int]) -> None:
        self._platform, self._id, self._numbers = platform, id, numbers
        self._removed, self._kept, self._failed = 0, 0, 0
        self._due = time.monotonic() + NOTED_EVERY_S

    def take(self, report: Report, *, is_last: bool = False) -> None:
        """Note what is new in the report. Raises ControlUnavailable at the last."""
        if not is_last and time.monotonic() < self._due:
            return
        removed, kept, failed = len(report.removed), len(report.kept), len(report.failed)
        new = [
            *(Settled(self._number(i), "removed", "") for i in report.removed[self._removed :]),
            *(Settled(self._number(i), "kept", why) for i, why in report.kept[self._kept :]),
            *(Settled(self._number(i), "failed", why) for i, why in report.failed[self._failed :]),
        ]
        try:
            with self._platform.control.write() as connection:
                entries.settle(connection, self._id, new)
        except ControlUnavailable:
            if is_last:
                raise
        else:
            self._removed, self._kept, self._failed = removed, kept, failed
        self._due = time.monotonic() + NOTED_EVERY_S

    def _number(self, item: Item) -> int:
        return self._numbers[item.kind, item.name]


def collector_of(platform: Platform, record: Record | None = None) -> Collector:
    """What plans and removes for the record; without one for everything."""

    def is_wanted(project: str) -> bool:
        if record is None or record.organization_id is None:
            return True
        if record.project is not None:
            return project == record.project
        return platform.projects.organization_of(project) == record.organization_id

    return Collector(places_of(platform), platform.events, platform.projects.usable, is_wanted)


def places_of(platform: Platform) -> Places:
    """The adapters to everything that takes room."""

    def under_way() -> list[Work]:
        with platform.control.read() as connection:
            going = jobs.not_ended(connection)
        return [
            Work(frozenset({job.project}), job.created_at, frozenset(values_of(job.spec)))
            for job in going
        ]

    return Places(
        platform.settings,
        platform.objects,
        DatasetStore(platform.objects),
        platform.evidence,
        platform.tracking,
        platform.runtime,
        RunHistory(platform.events),
        under_way,
    )
