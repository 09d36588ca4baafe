"""The adapter to what Dagster has recorded: dagster_runs, their logs, materialisations.

timeout: the database's own.
retry: none; what cannot be read is raised as EventsUnavailable.
cancel, duplicate, partial write: nothing is written here.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from resources.database.lock import OPENING_LOCK
from resources.orchestration.failed_steps import NO_STEP, FailedStep, failed_step, message_of

MOST_LINES = 500
NEWEST = 20
BLOCKED = "DagsterAssetCheckFailedError"
"""What Dagster raises in a step whose work is done and whose blocking check does not hold."""
PROGRESS, OUTPUT = "orrery/progress", "orrery/output"
"""Keys of the metadata by which an engine's reports are told from Dagster's own events."""


class EventsUnavailable(Exception):
    """Dagster's storage cannot be read; the same call may work later."""


class RunState(NamedTuple):
    """How far a dagster_run is."""

    run_id: str
    status: str
    started_at: float | None
    ended_at: float | None
    parent_run_id: str | None
    will_retry: bool | None
    """Whether Dagster will repeat it; None while that is not decided, and for one that is well."""


class Line(NamedTuple):
    """One line of a dagster_run's log."""

    number: int
    """Rises along the log."""
    at: float
    kind: str
    """`log`, `event`, `progress`, `output` or `error`."""
    step: str
    text: str
    progress: dict[str, Any] | None = None
    """Numbers of a line of progress, as an engine reported them (engine.progress)."""


class CheckResult(NamedTuple):
    """One evaluation of an asset check."""

    asset: list[str]
    name: str
    passed: bool
    text: str
    outcome: str | None
    """`pass`, `fail` or `inconclusive`, where the check is a criterion of a gate."""


class Outcome(NamedTuple):
    """What a dagster_run has left."""

    made: dict[str, dict[str, Any]]
    """Metadata by the family of the asset: dataset, checkpoint, model, simulation, ..."""
    checks: list[CheckResult]
    stopped_by_checks: bool
    """Whether nothing failed but checks: every step did its work."""
    failure: FailedStep
    """Why it failed, as its first failed step says; empty where it did not."""


class Materialised(NamedTuple):
    """One materialisation of an asset."""

    number: int
    at: float
    run_id: str
    metadata: dict[str, Any]


class DagsterEvents:
    """Reads Dagster's storage."""

    def __init__(self) -> None:
        self._opened: Any = None

    @property
    def instance(self) -> Any:
        """The instance, opened at first use."""
        if self._opened is None:
            with OPENING_LOCK:
                import dagster as dg

                # Another thread may have opened it while this one waited for the lock.
                self._opened = self._opened or dg.DagsterInstance.get()
        return self._opened

    def assets_of(self, project: str) -> list[Any]:
        """Keys of the project's assets that have events. Raises EventsUnavailable."""
        with self.answers():
            return list(self.instance.get_asset_keys(prefix=[project]))

    def forget_assets(self, project: str) -> None:
        """Remove the events of the project's assets. Raises EventsUnavailable."""
        if keys := self.assets_of(project):
            with self.answers():
                self.instance.wipe_assets(keys)

    def states(self, run_ids: Sequence[str]) -> list[RunState]:
        """States of the dagster_runs that exist. Raises EventsUnavailable."""
        import dagster as dg

        if not run_ids:
            return []
        with self.answers():
            records = self.instance.get_run_records(dg.RunsFilter(run_ids=list(run_ids)))
        return [_state(record) for record in records]

    def retry_of(self, run_id: str) -> str | None:
        """The newest dagster_run that repeats this one, or None. Raises EventsUnavailable."""
        import dagster as dg

        with self.answers():
            tags = {"dagster/parent_run_id": run_id}
            runs = self.instance.get_runs(dg.RunsFilter(tags=tags), limit=1)
        return runs[0].run_id if runs else None

    def lines(self, run_id: str, after: int) -> list[Line]:
        """Lines of the log behind the number, at most `MOST_LINES`. Raises EventsUnavailable."""
        # Dagster has no public way to make a cursor of an event's number.
        from dagster._core.event_api import EventLogCursor

        cursor = EventLogCursor.from_storage_id(after).to_string() if after else None
        with self.answers():
            # SQLite would make an empty file for the events of a dagster_run that was removed.
            if not self.instance.has_run(run_id):
                return []
            page = self.instance.get_records_for_run(run_id, cursor=cursor, limit=MOST_LINES)
        return [_line(record.storage_id, record.event_log_entry) for record in page.records]

    def outcome_of(self, run_id: str) -> Outcome:
        """What the dagster_run has made, checked and failed at. Raises EventsUnavailable."""
        import dagster as dg

        kinds = {
            dg.DagsterEventType.ASSET_MATERIALIZATION,
            dg.DagsterEventType.ASSET_CHECK_EVALUATION,
            dg.DagsterEventType.STEP_FAILURE,
            dg.DagsterEventType.RUN_FAILURE,
        }
        with self.answers():
            page = self.instance.get_records_for_run(run_id, of_type=kinds, limit=MOST_LINES)
        return _outcome(page.records)

    def progress_of(self, run_id: str) -> dict[str, Any] | None:
        """The newest progress of the dagster_run's work, or None. Raises EventsUnavailable."""
        import dagster as dg

        with self.answers():
            page = self.instance.get_records_for_run(
                run_id, of_type=dg.DagsterEventType.ENGINE_EVENT, limit=NEWEST, ascending=False
            )
        for record in page.records:
            event = record.event_log_entry.dagster_event
            reported = event.event_specific_data.metadata if event else {}
            if PROGRESS in reported:
                return reported[PROGRESS].value
        return None

    def full_queue(self) -> str:
        """What a queued dagster_run waits for; empty where the next look at the queue lets it go.
        Raises EventsUnavailable."""
        import dagster as dg
        from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

        queue = self.instance.get_concurrency_config().run_queue_config
        if queue is None or queue.max_concurrent_runs < 0:
            return ""
        under_way = dg.RunsFilter(statuses=IN_PROGRESS_RUN_STATUSES)
        with self.answers():
            count = self.instance.get_runs_count(under_way)
        if count < queue.max_concurrent_runs:
            return ""
        if not queue.max_concurrent_runs:
            return "waits in the queue of dagster_runs until there is room for one that has started"
        return f"waits in the queue of dagster_runs: {count} are under way, and no more may be"

    def newest(self, key: list[str]) -> Materialised | None:
        """The newest materialisation of the asset, or None. Raises EventsUnavailable."""
        newest = self.materialisations(key, limit=1)
        return newest[0] if newest else None

    def materialisations(
        self, key: list[str], limit: int, before: int | None = None
    ) -> list[Materialised]:
        """Materialisations of the asset, newest first. Raises EventsUnavailable."""
        import dagster as dg

        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(key), before_storage_id=before)
        with self.answers():
            page = self.instance.fetch_materializations(wanted, limit=limit)
        return [_materialised(record) for record in page.records]

    @contextmanager
    def answers(self) -> Iterator[None]:
        """Raise what the storage raises as EventsUnavailable."""
        from sqlalchemy.exc import DBAPIError

        try:
            yield
        except (DBAPIError, OSError) as error:
            raise EventsUnavailable(f"Dagster's storage cannot be read: {error}") from error


def _outcome(records: Sequence[Any]) -> Outcome:
    materialisations: dict[str, dict[str, Any]] = {}
    checks: list[CheckResult] = []
    failures: list[FailedStep] = []
    of_checks = 0
    for record in records:
        event = record.event_log_entry.dagster_event
        kind = event.event_type_value
        if kind == "ASSET_MATERIALIZATION":
            materialised = event.step_materialization_data.materialization
            metadata = {k: getattr(v, "value", None) for k, v in materialised.metadata.items()}
            materialisations[materialised.asset_key.path[1]] = metadata
        elif kind == "ASSET_CHECK_EVALUATION":
            checks.append(_check_result(event.asset_check_evaluation_data))
        elif kind == "STEP_FAILURE":
            error = event.step_failure_data.error
            of_checks += bool(error and error.cls_name == BLOCKED)
            failures.append(failed_step(event))
        elif not failures:
            # The process of the dagster_run ended before a step did.
            message = event.message or "no reason was recorded"
            failures.append(FailedStep(message, "lost_worker"))
    return Outcome(
        materialisations,
        checks,
        bool(failures) and of_checks == len(failures),
        next(iter(failures), NO_STEP),
    )


def _check_result(data: Any) -> CheckResult:
    outcome = data.metadata.get("outcome")
    return CheckResult(
        list(data.asset_key.path),
        data.check_name,
        data.passed,
        data.description or "",
        str(outcome.value) if outcome else None,
    )


def _state(record: Any) -> RunState:
    run = record.dagster_run
    return RunState(
        run.run_id,
        run.status.value,
        record.start_time,
        record.end_time,
        run.parent_run_id,
        {"true": True, "false": False}.get(run.tags.get("dagster/will_retry", "")),
    )


def _line(number: int, entry: Any) -> Line:
    event, step = entry.dagster_event, entry.step_key or ""
    if event is None:
        kind = "error" if entry.level >= 40 else "log"
        return Line(number, entry.timestamp, kind, step, entry.user_message)
    reported = event.event_specific_data.metadata if event.is_engine_event else {}
    if OUTPUT in reported:
        return Line(number, entry.timestamp, "output", step, event.message)
    if PROGRESS in reported:
        numbers = reported[PROGRESS].value
        return Line(number, entry.timestamp, "progress", step, event.message, numbers)
    kind = "error" if event.is_failure else "event"
    text = event.message or event.event_type_value
    describe: Callable[[], str] | None = _TOLD.get(event.event_type_value)
    return Line(number, entry.timestamp, kind, step, describe(event) if describe else text)  # type: ignore[call-arg]


def _check(event: Any) -> str:
    check = event.asset_check_evaluation_data
    outcome = "holds" if check.passed else "does not hold"
    return f"{check.check_name} {outcome}: {check.description or ''}".rstrip(": ")


_TOLD: dict[str, Any] = {"STEP_FAILURE": message_of, "ASSET_CHECK_EVALUATION": _check}


def _plain(value: Any) -> Any:
    """A metadata entry as Python has it, tables as their records."""
    plain_value = getattr(value, "value", None)
    records = getattr(plain_value, "records", None)
    return [dict(record.data) for record in records] if records is not None else plain_value


def _materialised(record: Any) -> Materialised:
    materialisation = record.asset_materialization
    metadata = {key: _plain(value) for key, value in materialisation.metadata.items()}
    return Materialised(record.storage_id, record.timestamp, record.run_id, metadata)
