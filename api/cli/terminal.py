"""What people see in a terminal: tables where they fit, else one block for each item."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from api.cli.field_types import is_structured
from api.operations import jobs
from api.operations.curves import Metrics
from api.operations.operation import Operation, Output, Page, item_type

HIDDEN = frozenset({"monitoring", "spec", "etag", "hash", "measurements", "url"})
"""Fields that programs read, or that only say where a thing is."""
WIDEST = 10_000
console = Console()


def show(operation: Operation, answer: Output, *, as_json: bool) -> None:
    """Print what the operation answered."""
    if as_json:
        print(answer.model_dump_json(indent=2))  # noqa: T201
        return
    item = item_type(operation.output)
    if isinstance(answer, Metrics):
        console.print(_curves(answer))
        return
    if item is None or not isinstance(answer, Page):
        console.print(_details(answer, list(type(answer).model_fields)))
        return
    console.print(_listing(item, answer.items) if answer.items else "nothing.")
    if answer.next_cursor:
        console.print(f"more: --cursor {answer.next_cursor}", highlight=False, soft_wrap=True)


def ending(job: jobs.Job) -> str:
    """What came of the job, in the words by which one compares jobs."""
    lines = [f"{job.kind} of {job.project}/{job.name}: {job.status} {job.message}".rstrip()]
    if job.verdict:
        lines.append(f"verdict: {job.verdict}")
    if failure := job.failure:
        lines += [f"cause: {failure.cause}", *(f"  {line}" for line in failure.lines)]
    if result := job.made:
        lines += [f"{name}: {value:.4g}" for name, value in result.test_metrics.items()]
        texts = {
            "model version": result.model_version,
            "artefact": result.artefact_digest and result.artefact_digest[:12],
            "dataset version": result.dataset_version and result.dataset_version[:12],
            "MLflow": result.mlflow_url,
            "service": result.service_url,
        }
        lines += [f"{name}: {value}" for name, value in texts.items() if value]
    lines.append(f"Dagster: {job.monitoring.dashboard_url}")
    return "\n".join(lines)


def _listing(item: type[Output], items: Sequence[Output]) -> RenderableType:
    names = [
        name
        for name in item.model_fields
        if name not in HIDDEN and any(_cell(getattr(one, name)) for one in items)
    ]
    flat = [name for name in names if not is_structured(item.model_fields[name].annotation)]
    table = Table(*(Column(name.replace("_", " "), no_wrap=True) for name in flat))
    for one in items:
        table.add_row(*(Text(_cell(getattr(one, name)), no_wrap=True) for name in flat))
    if (
        console.measure(table, options=console.options.update(width=WIDEST)).maximum
        <= console.width
    ):
        return table
    return Group(*(part for one in items for part in (_details(one, names), "")))


def _details(answer: Output, names: Sequence[str]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name in names:
        table.add_row(name.replace("_", " "), Text(_cell(getattr(answer, name))))
    return table


def _curves(answer: Metrics) -> RenderableType:
    """One row for each metric: where it began, where it ended, and its extremes."""
    table = Table("metric", "points", "first", "last", "lowest", "highest")
    for name, points in answer.metrics.items():
        values = [point.value for point in points if point.value is not None]
        if values:
            numbers = (values[0], values[-1], min(values), max(values))
            table.add_row(name, str(answer.logged[name]), *(f"{value:.4g}" for value in numbers))
    return table if table.row_count else Text("nothing is measured yet.")


def _cell(value: Any) -> str:
    match value:
        case None | []:
            return ""
        case datetime():
            return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        case float():
            return f"{value:.6g}"
        case list():
            return ("\n" if isinstance(value[0], BaseModel) else ", ").join(map(_cell, value))
        case dict() | BaseModel():
            return _pairs(dict(value))
    return str(value)


def _pairs(values: dict[str, Any]) -> str:
    texts = {key: _nested(value) for key, value in values.items()}
    return ", ".join(f"{key}: {text}" for key, text in texts.items() if text)


def _nested(value: Any) -> str:
    return json.dumps(value, default=str) if isinstance(value, (dict, list)) else _cell(value)
