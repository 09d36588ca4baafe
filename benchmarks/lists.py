"""Lists: every list operation of the table with each of its filters, over 1,000 and 100,000 rows.

Cost must not grow with history: each request is asked in both sizes, whatever matches.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import httpx
from rich.table import Table

from api.operations.operation import Operation, item_type
from api.operations.table import OPERATIONS
from benchmarks.gateway import ours
from benchmarks.measure import console
from resources.database.control import Control, new_id

SIZES = (1_000, 100_000)
REPEATS = 7
CHUNK = 10_000
PATHS = {"project": "bench", "model": "reader", "dataset": "scans"}
NOT_FILTERS = ("cursor", "limit", "ascending", "order_by")
MOST = 3.0
"""Times that the larger size may take."""


def main() -> None:
    """Print milliseconds of each request in both sizes, those first whose cost grows."""
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        folder = Path(name)
        with ours(folder) as (url, key):
            client = httpx.Client(
                base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=120
            )
            client.post("/train/jobs", json={"model": "balancer"}).raise_for_status()
            durations: dict[tuple[str, str], list[float]] = {}
            have = 0
            for size in SIZES:
                _fill(folder, size - have)
                have = size
                for query, spent_ms in _measured(client):
                    durations.setdefault(query, []).append(spent_ms)
    _show(durations)


def _show(durations: dict[tuple[str, str], list[float]]) -> None:
    table = Table("operation", "filter", *(f"{size} rows, ms" for size in SIZES), "ratio")
    ranked = sorted(durations.items(), key=lambda pair: -pair[1][1] / pair[1][0])
    for (operation, filtered), (few, many) in ranked:
        mark = "  grows" if many / few > MOST else ""
        table.add_row(operation, filtered, f"{few:.1f}", f"{many:.1f}", f"{many / few:.1f}{mark}")
    console.print(table)


def _measured(client: httpx.Client) -> Iterator[tuple[tuple[str, str], float]]:
    for operation in OPERATIONS:
        if item_type(operation.output) is None or operation.path_fields == ["id"]:
            continue
        path = operation.path.format(**PATHS)
        for filters in ({}, *_filters(operation)):
            spent = []
            for _ in range(REPEATS):
                began = time.monotonic()
                client.get(path, params={"limit": 50, **filters}).raise_for_status()
                spent.append((time.monotonic() - began) * 1000)
            text = ", ".join(f"{name}={value}" for name, value in filters.items())
            yield (operation.name, text), statistics.median(spent)


def _filters(operation: Operation) -> Iterator[dict[str, Any]]:
    """One filter at a time: each word that it knows, else a word that matches and one that does
    not."""
    for name, field in operation.input.model_fields.items():
        if name in operation.path_fields or name in NOT_FILTERS:
            continue
        words = _words(field.annotation)
        if words is None:
            continue
        yield from ({name: word} for word in words or (PATHS.get(name, "balancer"), "nobody"))


def _words(kind: Any) -> tuple[str, ...] | None:
    """Words of a choice; none for free text; None for what is no text."""
    inner = [a for a in get_args(kind) if a is not NoneType]
    if get_origin(kind) is Literal:
        return get_args(kind)
    if get_origin(kind) is Annotated:
        return _words(inner[0])
    if inner:
        return _words(inner[0])
    return () if kind is str else None


def _fill(folder: Path, rows: int) -> None:
    """So many more jobs, messages, keys, members and entries of the audit."""
    from sqlalchemy import insert, select

    from accounts.tables import audit, keys, memberships, users
    from scheduler.tables import deliveries, jobs

    control = Control(f"sqlite:///{folder / 'state' / 'control.db'}")
    with control.write() as connection:
        job = dict(connection.execute(select(jobs).limit(1)).mappings().one())
        key = dict(connection.execute(select(keys).limit(1)).mappings().one())
        member = dict(connection.execute(select(memberships).limit(1)).mappings().one())
        last = dict(
            connection.execute(select(audit).order_by(audit.c.number.desc()).limit(1))
            .mappings()
            .one()
        )
        for start in range(0, rows, CHUNK):
            count = min(CHUNK, rows - start)
            ids = [new_id("job") for _ in range(count)]
            ended = {**job, "status": "succeeded", "key_id": None}
            connection.execute(insert(jobs), [{**ended, "id": one} for one in ids])
            message = {
                "organization_id": job["organization_id"],
                "url": "http://example.org",
                "event": "job.succeeded",
                "body": "{}",
                "state": "delivered",
                "attempts": 1,
                "due_at": 0.0,
                "last_error": "",
                "created_at": 0.0,
            }
            sent = [{**message, "id": new_id("msg"), "job_id": one} for one in ids]
            connection.execute(insert(deliveries), sent)
            names = [new_id("usr") for _ in range(count)]
            person = {"kind": "service", "name": "bench", "created_at": 0.0}
            connection.execute(insert(users), [{**person, "id": one} for one in names])
            connection.execute(insert(memberships), [{**member, "user_id": one} for one in names])
            key_rows = [{**key, "id": new_id("key"), "digest": new_id("d")} for _ in range(count)]
            connection.execute(insert(keys), key_rows)
            entries = [
                {**last, "number": last["number"] + start + i + 1, "hash": new_id("h")}
                for i in range(count)
            ]
            connection.execute(insert(audit), entries)
    control.close()


if __name__ == "__main__":
    main()
