"""The door to what Dagster has recorded: the state of dagster_runs, their logs, materialisations.

timeout: the database's own.
retry: none; what cannot be read is raised as EventsUnavailable.
cancel, duplicate, partial write: nothing is written here.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from resources.opening import OPENING

MOST_LINES = 500


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
    """`log`, `event` or `error`."""
    step: str
    text: str


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
            with OPENING:
                import dagster as dg

                self._opened = self._opened or dg.DagsterInstance.get()
        return self._opened

    def states(self, run_ids: Sequence[str]) -> list[RunState]:
        """States of the dagster_runs that exist. Raises EventsUnavailable."""
        import dagster as dg

        if not run_ids:
            return []
        with self._answers():
            records = self.instance.get_run_records(dg.RunsFilter(run_ids=list(run_ids)))
        return [_state(record) for record in records]

    def retry_of(self, run_id: str) -> str | None:
        """The newest dagster_run that repeats this one, or None. Raises EventsUnavailable."""
        import dagster as dg

        with self._answers():
            tags = {"dagster/parent_run_id": run_id}
            found = self.instance.get_runs(dg.RunsFilter(tags=tags), limit=1)
        return found[0].run_id if found else None

    def lines(self, run_id: str, after: int) -> list[Line]:
        """Lines of the log behind the number, at most `MOST_LINES`. Raises EventsUnavailable."""
        from dagster._core.event_api import EventLogCursor

        cursor = EventLogCursor.from_storage_id(after).to_string() if after else None
        with self._answers():
            page = self.instance.get_records_for_run(run_id, cursor=cursor, limit=MOST_LINES)
        return [_line(record.storage_id, record.event_log_entry) for record in page.records]

    def failure_of(self, run_id: str) -> str:
        """Why the dagster_run failed, in the words of its steps. Raises EventsUnavailable."""
        import dagster as dg

        kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
        with self._answers():
            page = self.instance.get_records_for_run(run_id, of_type=kinds, limit=20)
        texts = [_line(r.storage_id, r.event_log_entry).text for r in page.records]
        return texts[0] if texts else "no reason was recorded"

    def newest(self, key: list[str]) -> Materialised | None:
        """The newest materialisation of the asset, or None. Raises EventsUnavailable."""
        found = self.materialisations(key, limit=1)
        return found[0] if found else None

    def materialisations(
        self, key: list[str], limit: int, before: int | None = None
    ) -> list[Materialised]:
        """Materialisations of the asset, newest first. Raises EventsUnavailable."""
        import dagster as dg

        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(key), before_storage_id=before)
        with self._answers():
            page = self.instance.fetch_materializations(wanted, limit=limit)
        return [_materialised(record) for record in page.records]

    @contextmanager
    def _answers(self) -> Iterator[None]:
        from sqlalchemy.exc import DBAPIError

        try:
            yield
        except (DBAPIError, OSError) as error:
            raise EventsUnavailable(f"Dagster's storage cannot be read: {error}") from error


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
    kind = "error" if event.is_failure else "event"
    text = event.message or event.event_type_value
    told: Callable[[], str] | None = _TOLD.get(event.event_type_value)
    return Line(number, entry.timestamp, kind, step, told(event) if told else text)  # type: ignore[call-arg]


def _failure(event: Any) -> str:
    data = event.step_failure_data
    failure = data.user_failure_data
    if failure and failure.description:
        return failure.description
    return data.error.message.strip() if data.error else event.message


def _check(event: Any) -> str:
    check = event.asset_check_evaluation_data
    outcome = "holds" if check.passed else "does not hold"
    return f"{check.check_name} {outcome}: {check.description or ''}".rstrip(": ")


_TOLD: dict[str, Any] = {"STEP_FAILURE": _failure, "ASSET_CHECK_EVALUATION": _check}


def _plain(value: Any) -> Any:
    """A metadata entry as Python has it, tables as their records."""
    found = getattr(value, "value", None)
    records = getattr(found, "records", None)
    return [dict(record.data) for record in records] if records is not None else found


def _materialised(record: Any) -> Materialised:
    made = record.asset_materialization
    metadata = {key: _plain(value) for key, value in made.metadata.items()}
    return Materialised(record.storage_id, record.timestamp, record.run_id, metadata)
