"""Dagster's SQLite files, read as the one database they become."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from deploy.migration.addresses import Addresses
from deploy.migration.event_numbers import EventNumbers
from deploy.migration.sqlite_files import SqliteFiles

UPSTREAM = "dagster/input_event_pointer/"
UPSTREAM_TAG = re.compile(rf'("{UPSTREAM}[^"\\]*": ")(\d+)')
CHECKED = re.compile(
    r'("__class__": "AssetCheckEvaluationTargetMaterializationData", "run_id": "[^"]*", '
    r'"storage_id": )(\d+)'
)
NEWEST = re.compile(r'(^\{"__class__": "EventLogRecord".*"storage_id": )(\d+)(?=\}$)', re.DOTALL)
SEEN = re.compile(r'(\\"RunStatusSensorCursor\\", \\"record_id\\": )(\d+)')
CONSUMED = "EVENT_LOG_CONSUMER_CURSOR-"

NUMBERS = {
    "asset_event_tags": ("event_id",),
    "asset_check_executions": (
        "evaluation_event_storage_id",
        "materialization_event_storage_id",
    ),
}
"""Columns that hold the number of an event."""
TEXTS = {
    "event_logs": {"event": (UPSTREAM_TAG, CHECKED)},
    "asset_keys": {"last_materialization": (NEWEST, UPSTREAM_TAG)},
    "asset_check_executions": {"evaluation_event": (CHECKED,)},
    "instigators": {"instigator_body": (SEEN,)},
    "jobs": {"job_body": (SEEN,)},
    "job_ticks": {"tick_body": (SEEN,)},
}
"""Where in a column's text such a number is."""


class DagsterFiles(SqliteFiles):
    """Runs, events and schedules; a number of an event is that which it has in one table."""

    def __init__(self, folder: Path, addresses: Addresses) -> None:
        runs = folder / "history" / "runs"
        super().__init__(
            [
                folder / "history" / "runs.db",
                runs / "index.db",
                folder / "schedules" / "schedules.db",
            ],
            addresses,
        )
        self._numbers = EventNumbers(runs) if (runs / "index.db").exists() else None

    def rows(self, table: Table) -> Iterator[dict[str, Any]]:
        """Every row, as it is to be in the new place."""
        if table.name != "event_logs" or self._numbers is None:
            yield from super().rows(table)
            return
        for row in self.rows_in(self._numbers.index, table):
            row["id"] = self._numbers.of_index(row["id"])
            yield self.moved(table, row)
        for file, path in enumerate(self._numbers.runs):
            for row in self.rows_in(path, table):
                number = self._numbers.of_run(file, row["id"])
                if number is not None:
                    yield self.moved(table, {**row, "id": number})

    def moved(self, table: Table, row: dict[str, Any]) -> dict[str, Any]:
        """The row as it is to be in the new place."""
        row = super().moved(table, row)
        numbers = self._numbers
        if numbers is None:
            return row

        def renumbered(match: re.Match[str]) -> str:
            return f"{match[1]}{numbers.of_index(int(match[2]))}"

        for name in NUMBERS.get(table.name, ()):
            if row[name] is not None:
                row[name] = numbers.of_index(row[name])
        for name, patterns in TEXTS.get(table.name, {}).items():
            for pattern in patterns if row[name] else ():
                row[name] = pattern.sub(renumbered, row[name])
        if table.name == "kvs" and row["key"].startswith(CONSUMED):
            row["value"] = str(numbers.of_index(int(row["value"])))
        elif table.name == "asset_event_tags" and row["key"].startswith(UPSTREAM):
            row["value"] = re.sub(r"^()(\d+)$", renumbered, row["value"])
        elif table.name == "asset_keys":
            # A cache with numbers of events in it, which Dagster makes anew.
            row["cached_status_data"] = None
        return row
