"""What a person reads in a terminal of 80 columns, for every operation of the table."""

from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel
from rich.console import Console

from api.cli import terminal
from api.operations import curves
from api.operations.operation import Page, item_type
from api.operations.table import OPERATIONS

TEXTS = {"version": "5f" * 32, "uri": "file:///data/objects/datasets/flowers/iris/" + "5f" * 32}
AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def filled(kind: Any, name: str = "") -> Any:
    """A value of the type, with every field and one item in each collection."""
    origin, inner = get_origin(kind), [a for a in get_args(kind) if a is not NoneType]
    if origin is Annotated or origin in (Union, UnionType):
        return filled(inner[0], name)
    if origin is Literal:
        return inner[0]
    if origin is dict:
        return {filled(inner[0]): filled(inner[1])}
    if origin in (list, tuple):
        return [filled(inner[0], name)]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        values = {n: filled(f.annotation, n) for n, f in kind.model_fields.items()}
        return kind.model_construct(**values)
    samples = {bool: True, int: 150, float: 0.9666, datetime: AT, str: TEXTS.get(name, name or "x")}
    return samples.get(kind, "something")


@pytest.fixture
def printed(monkeypatch):
    """Lines that the operation's answer is printed as."""

    def lines(operation, answer):
        console = Console(width=80, record=True, force_terminal=False)
        monkeypatch.setattr(terminal, "console", console)
        terminal.show(operation, answer, as_json=False)
        return console.export_text().splitlines()

    return lines


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_every_answer_fits_80_columns_and_hides_nothing_that_tables_show(operation, printed):
    item = item_type(operation.output)
    answer = operation.output.model_construct(items=[filled(item)], next_cursor=None)
    lines = printed(operation, answer if item else filled(operation.output))
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if "…" in line]


def test_a_table_that_does_not_fit_becomes_a_block_for_each_item(printed):
    operation = next(o for o in OPERATIONS if o.name == "datasets.versions")
    versions = [filled(item_type(operation.output)) for _ in range(2)]
    lines = printed(operation, Page.model_construct(items=versions, next_cursor=None))
    (first, second) = (i for i, line in enumerate(lines) if line.startswith("version"))
    assert "5f" * 32 in lines[first]
    assert lines[second - 1] == ""
    assert any(line.startswith("rows") and line.rstrip().endswith("150") for line in lines)


def test_versions_of_a_model_show_the_metrics_they_are_compared_by(printed):
    operation = next(o for o in OPERATIONS if o.name == "models.versions")
    version = filled(item_type(operation.output)).model_copy(
        update={"version": 3, "aliases": ["champion"], "test_metrics": {"test_accuracy": 0.9666}}
    )
    text = "\n".join(printed(operation, Page.model_construct(items=[version], next_cursor=None)))
    assert "champion" in text and "test_accuracy: 0.9666" in text


def test_curves_are_shown_by_their_ends_and_extremes(printed):
    operation = next(o for o in OPERATIONS if o.name == "train.metrics")
    points = [
        curves.MetricPoint(step=i, value=v, at=AT) for i, v in enumerate([3.0, 0.5, 1.0, None])
    ]
    text = "\n".join(
        printed(operation, curves.Metrics(run_id="r", metrics={"loss": points}, logged={"loss": 9}))
    )
    row = next(line for line in text.splitlines() if "loss" in line)
    assert [c.strip() for c in row.strip("│ ").split("│")] == ["loss", "9", "3", "1", "0.5", "3"]
