"""The adapter to what Dagster keeps of dagster_runs that are over, and to its removal.

Its tables and files are private to Dagster, whose version is pinned: a public call deletes neither
the file that SQLite has for each dagster_run, nor its tags and checks.

timeout: the database's own.
retry: none; what cannot be read or removed is raised, and the same call may be made again.
cancel, partial write: `remove` takes materialisations first, then the dagster_run, then its file:
    what is interrupted leaves a dagster_run that is found again, or a file that nothing names.
duplicate: what is gone already is no error.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from resources.orchestration.events import DagsterEvents
from resources.orchestration.run_projects import projects_of

PAGE = 1_000
LOGS = "storage"


class EndedRun(NamedTuple):
    """A dagster_run that is over."""

    run_id: str
    root: str
    """The first of its retries."""
    project: str
    """Empty where it is of none, or of several."""
    ended_at: float
    bytes: int
    """Of its own file; 0 where it has none."""


class GoingRun(NamedTuple):
    """A dagster_run that is not over."""

    run_id: str
    root: str
    projects: frozenset[str]
    """None where they are not known: it may be of any."""
    began_at: float
    makes: frozenset[tuple[str, ...]]
    """Keys of the assets that it was started for; none where that is not known: all."""
    mentions: frozenset[str]
    """Every value of its configuration, as text."""


class Made(NamedTuple):
    """A materialisation."""

    asset: tuple[str, ...]
    run_id: str
    data_version: str


class RunHistory:
    """Dagster_runs, their files, and what they have made."""

    def __init__(self, events: DagsterEvents) -> None:
        self._events = events

    def going(self) -> list[GoingRun]:
        """Dagster_runs that are not over. Raises EventsUnavailable."""
        import dagster as dg
        from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

        unfinished = dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES))
        with self._events.answers():
            records = self._events.instance.get_run_records(unfinished)
        return [_going(record) for record in records]

    def ended(self) -> Iterator[EndedRun]:
        """Dagster_runs that are over, the newest first. Raises EventsUnavailable."""
        cursor: str | None = None
        while True:
            with self._events.answers():
                page = self._events.instance.get_run_records(limit=PAGE, cursor=cursor)
            for record in page:
                if record.dagster_run.is_finished:
                    yield self._ended(record)
            if len(page) < PAGE:
                return
            cursor = page[-1].dagster_run.run_id

    def exists(self, run_id: str) -> bool:
        """Whether there is such a dagster_run. Raises EventsUnavailable."""
        with self._events.answers():
            return self._events.instance.has_run(run_id)

    def made(self) -> list[Made]:
        """Every materialisation that has a data version, the oldest first.

        Read from the tables, because the events hold pictures. Raises EventsUnavailable.
        """
        from dagster._core.definitions.data_version import DATA_VERSION_TAG
        from dagster._core.storage.event_log.schema import AssetEventTagsTable as Tags
        from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events
        from sqlalchemy import select

        query = (
            select(Tags.c.asset_key, Events.c.run_id, Tags.c.value)
            .join(Events, Events.c.id == Tags.c.event_id)
            .where(
                Tags.c.key == DATA_VERSION_TAG,
                Events.c.dagster_event_type == "ASSET_MATERIALIZATION",
            )
            .order_by(Tags.c.event_id)
        )
        with self._events.answers(), self._storage.index_connection() as connection:
            rows = connection.execute(query).fetchall()
        return [Made(tuple(json.loads(key)), run, version) for key, run, version in rows]

    def makers_of(self, data_version: str) -> set[tuple[str, ...]]:
        """Keys of the assets that were ever materialised as this version.

        Raises EventsUnavailable.
        """
        from dagster._core.definitions.data_version import DATA_VERSION_TAG
        from dagster._core.storage.event_log.schema import AssetEventTagsTable as Tags
        from sqlalchemy import select

        query = (
            select(Tags.c.asset_key)
            .where(Tags.c.key == DATA_VERSION_TAG, Tags.c.value == data_version)
            .distinct()
        )
        with self._events.answers(), self._storage.index_connection() as connection:
            return {tuple(json.loads(key)) for (key,) in connection.execute(query)}

    def newest(self) -> set[str]:
        """Ids of the dagster_runs with the newest materialisation of an asset, the newest start of
        one, or the newest evaluation of a check. Raises EventsUnavailable."""
        from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as Checks
        from dagster._core.storage.event_log.schema import AssetKeyTable as Assets
        from sqlalchemy import func, select

        last = select(func.max(Checks.c.id)).group_by(Checks.c.asset_key, Checks.c.check_name)
        runs = {row.run_id for row in self._last_materialisations()}
        with self._events.answers(), self._storage.index_connection() as connection:
            checked = select(Checks.c.run_id).where(Checks.c.id.in_(last))
            runs |= {row[0] for row in connection.execute(checked)}
            runs |= {row[0] for row in connection.execute(select(Assets.c.last_run_id))}
        return {run for run in runs if run}

    def _last_materialisations(self) -> list[Any]:
        """Newest materialisation of every asset, whether it has a data version or not."""
        with self._events.answers():
            entries = [r.asset_entry for r in self._events.instance.get_asset_records()]
        return [e.last_materialization_record for e in entries if e.last_materialization_record]

    def unnamed_files(self) -> Iterator[Path]:
        """Files of SQLite for dagster_runs that there are none of any more: a deletion by Dagster's
        own means leaves them. Raises EventsUnavailable."""
        if (folder := self._folder()) is None:
            return
        known = {row for row in self._run_ids()}
        for file in sorted(folder.glob("*.db")):
            if file.stem not in known and file.stem != "index":
                yield file

    def _run_ids(self) -> Iterator[str]:
        from dagster._core.storage.runs.schema import RunsTable
        from sqlalchemy import select

        with self._events.answers(), self._runs.connect() as connection:
            for row in connection.execute(select(RunsTable.c.run_id)):
                yield row[0]

    def remove(self, run_id: str) -> None:
        """Take the dagster_run away with its events, checks, output, tags and file.

        Raises EventsUnavailable or OSError.
        """
        from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as Checks
        from dagster._core.storage.runs.schema import RunTagsTable as Tags
        from sqlalchemy import delete

        with self._events.answers():
            self._events.instance.compute_log_manager.delete_logs(prefix=[run_id])
            with self._storage.index_connection() as connection:
                self._storage.delete_events_for_run(connection, run_id)
                connection.execute(delete(Checks).where(Checks.c.run_id == run_id))
            with self._runs.connect() as connection:
                # SQLite does not follow the foreign key.
                connection.execute(delete(Tags).where(Tags.c.run_id == run_id))
            self._runs.delete_run(run_id)
        if (folder := self._folder()) is not None:
            remove_database(folder / f"{run_id}.db")

    @property
    def _storage(self) -> Any:
        return self._events.instance.event_log_storage

    @property
    def _runs(self) -> Any:
        return self._events.instance.run_storage

    def _folder(self) -> Path | None:
        """Where SQLite has a file for each dagster_run; None for another database."""
        path_for: Callable[[str], str] | None = getattr(self._storage, "path_for_shard", None)
        return Path(path_for("index")).parent if path_for else None

    def _ended(self, record: Any) -> EndedRun:
        run, folder = record.dagster_run, self._folder()
        # One that failed before it began has no time of its end.
        ended_at = record.end_time or record.update_timestamp.timestamp()
        projects = projects_of(run)
        return EndedRun(
            run.run_id,
            run.root_run_id or run.run_id,
            "" if "," in projects else projects,
            ended_at,
            size_of_database(folder / f"{run.run_id}.db") if folder else 0,
        )


def _going(record: Any) -> GoingRun:
    run = record.dagster_run
    keys = [*(run.asset_selection or ()), *(c.asset_key for c in run.asset_check_selection or ())]
    return GoingRun(
        run.run_id,
        run.root_run_id or run.run_id,
        frozenset(filter(None, projects_of(run).split(","))),
        min(record.create_timestamp.timestamp(), record.start_time or time.time()),
        frozenset(tuple(key.path) for key in keys),
        frozenset(values_of([run.run_config, run.tags])),
    )


def values_of(document: Any) -> Iterator[str]:
    """Every text and number anywhere in the document, as text."""
    if isinstance(document, dict):
        document = list(document.values())
    if isinstance(document, list | tuple):
        for each in document:
            yield from values_of(each)
    elif isinstance(document, str | int) and not isinstance(document, bool):
        yield str(document)


def size_of_database(file: Path) -> int:
    """Bytes of an SQLite database with what lies beside it."""
    return sum(part.stat().st_size for part in _parts(file) if part.exists())


def remove_database(file: Path) -> None:
    """Remove an SQLite database with what lies beside it, if it is there. Raises OSError."""
    for part in _parts(file):
        part.unlink(missing_ok=True)


def _parts(file: Path) -> list[Path]:
    # The database last: without it the others would be taken for nothing.
    return [file.with_name(f"{file.name}{end}") for end in ("-wal", "-shm", "")]
