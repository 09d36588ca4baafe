"""What is predicted from a dataset: one of the classes of its label, or a number."""

from typing import NamedTuple

import pyarrow as pa

from projects.dataset import JudgedTask, Task
from resources.datasets.arrow import pc
from resources.datasets.columns import UnusableColumns, is_number

MOST_CLASSES = 10_000
FEW = 20
"""Different whole numbers that are classes when each comes twice."""
MANY_WHOLE = 1_000
"""Different integers that may still be classes, when each comes often."""
OFTEN = 10
"""Rows of a class that comes often."""


class Decision(NamedTuple):
    """The task of a label, and why."""

    task: JudgedTask
    reason: str


def decide(name: str, labels: pa.ChunkedArray, declared: Task | None) -> Decision:
    """The declared task, else what the values of the label are like.

    Raises UnusableColumns when the label cannot be predicted so.
    """
    kind = labels.type
    is_text = pa.types.is_string(kind) or pa.types.is_boolean(kind)
    if not is_text and not is_number(kind):
        raise UnusableColumns(
            f"the label {name!r} is of type {kind}, expected numbers, text or booleans; declare "
            "another label, or its type under read: types"
        )
    distinct = _distinct(labels)
    decision = Decision(_judged(declared), "declared") if declared else _inferred(labels, distinct)
    if decision.task == "regression" and pa.types.is_string(kind):
        raise UnusableColumns(
            f"the label {name!r} is text such as {_example(labels)!r:.80}, which no regression "
            "predicts; expected numbers: declare task: classification, or clean the source, or "
            "declare read: with nulls or types"
        )
    if decision.task == "text-generation" and not pa.types.is_string(kind):
        raise UnusableColumns(
            f"the label {name!r} is of type {kind}, expected the texts that a model is to write"
        )
    if decision.task == "classification" and distinct > MOST_CLASSES:
        raise UnusableColumns(
            f"the label {name!r} has {distinct} different values in {len(labels)} rows, expected "
            f"at most {MOST_CLASSES} classes; is it an identifier? Declare another label"
            f"{'' if is_text else ', or task: regression'}"
        )
    return decision


def classes_of(labels: pa.ChunkedArray) -> list[str]:
    """Names of the classes, in the order of their values; null and NaN are no classes."""
    values = pc.drop_null(pc.unique(labels))
    if pa.types.is_floating(values.type):
        values = values.filter(pc.invert(pc.is_nan(values)))
    return [str(value) for value in sorted(values.to_pylist())]


def _judged(declared: Task) -> JudgedTask:
    return "classification" if declared == "text-classification" else declared


def _inferred(labels: pa.ChunkedArray, distinct: int) -> Decision:
    rows = len(labels) - labels.null_count
    if pa.types.is_string(labels.type) or pa.types.is_boolean(labels.type):
        kind = "text" if pa.types.is_string(labels.type) else "boolean"
        return Decision("classification", f"{distinct} different {kind} values")
    if not _are_whole(labels):
        return Decision("regression", f"{distinct} different values with decimals")
    is_integer = pa.types.is_integer(labels.type)
    if distinct <= FEW and rows >= 2 * distinct:
        return Decision("classification", f"{distinct} different whole numbers in {rows} rows")
    if is_integer and distinct <= MANY_WHOLE and rows >= OFTEN * distinct:
        reason = f"{distinct} different integers in {rows} rows, {OFTEN} or more of each on average"
        return Decision("classification", reason)
    return Decision("regression", f"{distinct} different whole numbers in only {rows} rows")


def _distinct(labels: pa.ChunkedArray) -> int:
    if pa.types.is_floating(labels.type):
        labels = labels.filter(pc.is_finite(labels))
    return pc.count_distinct(labels, mode="only_valid").as_py()


def _are_whole(labels: pa.ChunkedArray) -> bool:
    if not pa.types.is_floating(labels.type):
        return True
    finite = labels.filter(pc.is_finite(labels))
    return pc.all(pc.equal(finite, pc.round(finite))).as_py() is not False


def _example(labels: pa.ChunkedArray) -> str | None:
    row = pc.index(pc.is_valid(labels), True).as_py()
    return None if row < 0 else labels[row].as_py()
