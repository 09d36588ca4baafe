"""The signature of an exported model: what its tensors are, and which columns fill them."""

import math
import re
from typing import Any

import numpy as np

from engine.artefact import (
    Column,
    ModelNotes,
    Signature,
    Task,
    TensorSignature,
    output_fault,
)
from engine.protocol import Refused
from engine.rows import columns_of, read_first
from engine.runtime.model import zeros
from engine.runtime.tensors import TEXT, Tensors, tensors_of
from training.contract import DatasetFiles
from training.runtimes.target import Described, task_of

EXAMPLE_ROWS = 2
SURE = 1e-3
"""Scores whose sum differs from 1 by less are probabilities."""


def signature_of(
    described: Described, dataset: DatasetFiles | None, notes: ModelNotes
) -> Signature:
    """The signature of a model that says this of itself, with the columns of the dataset.

    Raises Refused where the model's tensors fit neither the columns nor the task.
    """
    classes = dataset.classes if dataset else []
    inputs, columns = _filled(described.inputs, dataset, notes)
    outputs, task = described.outputs, task_of(dataset)
    signature = Signature(
        inputs=inputs,
        outputs=outputs,
        task=task,
        classes=classes,
        order=_order(notes.classes or described.classes, classes),
        columns=columns,
        answer=_answer(outputs, task, len(classes), notes),
        actions=notes.actions,
    )
    if fault := output_fault(signature):
        raise Refused(f"the exported model cannot be used: {fault}")
    return signature


def example_of(signature: Signature, dataset: DatasetFiles | None) -> tuple[list[Any], Tensors]:
    """Two rows by position, as JSON, and as tensors: of the training split, else zeros."""
    inputs = [each.model_dump() for each in signature.inputs]
    if dataset is None or not dataset.train or not signature.columns:
        tensors = zeros(signature.model_dump(), EXAMPLE_ROWS)
        return next(iter(tensors.values())).tolist(), tensors
    table = read_first(dataset.train, signature.features, EXAMPLE_ROWS)
    values = columns_of(table, signature.columns)
    rows = [
        [_as_json(values[column.name][row], column) for column in signature.columns]
        for row in range(table.num_rows)
    ]
    return rows, tensors_of(values, inputs)


def _as_json(value: Any, column: Column) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if column.kind == "boolean":
        return bool(value)
    if column.kind == "date":
        return str(np.datetime64(round(value * 86_400_000), "ms"))
    return int(value) if column.kind == "integer" else value


def _filled(
    inputs: list[TensorSignature], dataset: DatasetFiles | None, notes: ModelNotes
) -> tuple[list[TensorSignature], list[Column]]:
    """The inputs with the columns that fill them, and these columns. Raises Refused."""
    if dataset is None:
        if len(inputs) != 1:
            raise Refused(f"the policy has {len(inputs)} inputs, expected one: what it observes")
        return inputs, []
    known = {column.name: column for column in columns_in(dataset)}
    says = {each.name: each.columns for each in inputs if each.columns}
    names = says or _names(inputs, dataset, notes, known)
    if any(each.name not in names for each in inputs):
        return inputs, []
    filled = [each.model_copy(update={"columns": names[each.name]}) for each in inputs]
    for each in filled:
        _require_fit(each, [known[name] for name in each.columns])
    used = {name for each in filled for name in each.columns}
    return filled, [column for name, column in known.items() if name in used]


def columns_in(dataset: DatasetFiles) -> list[Column]:
    """Columns that a model may learn from; of a dataset that names only numbers, these."""
    numbers = [Column(name=name, kind="number") for name in dataset.features]
    return list(dataset.columns) or numbers


def _names(
    inputs: list[TensorSignature],
    dataset: DatasetFiles,
    notes: ModelNotes,
    known: dict[str, Column],
) -> dict[str, list[str]]:
    """Columns by input; empty where the only input is no row of the features."""
    if notes.inputs:
        for name, columns in notes.inputs.items():
            if unknown := [column for column in columns if column not in known]:
                raise Refused(
                    f"model.json fills the input {name!r} with the column {unknown[0]!r}, expected "
                    f"columns of the dataset: {', '.join(known)}"
                )
        return notes.inputs
    if len(inputs) == 1 and inputs[0].dtype != "string":
        is_row = math.prod(inputs[0].shape) == len(dataset.features)
        return {inputs[0].name: dataset.features} if is_row else {}
    # Converters write other signs than letters and digits as _ in the names of tensors.
    legal = {re.sub(r"\W", "_", name): name for name in known} | {name: name for name in known}
    for each in inputs:
        if each.name not in legal:
            raise Refused(
                f"the model has the input {each.name!r}, which is no column of the dataset "
                f"({', '.join(known)}): name the inputs after columns, or leave model.json with "
                "inputs: {INPUT: [COLUMN, ...]} beside the model"
            )
    return {each.name: [legal[each.name]] for each in inputs}


def _require_fit(tensor: TensorSignature, columns: list[Column]) -> None:
    if math.prod(tensor.shape) != len(columns):
        raise Refused(
            f"the input {tensor.name!r} has {math.prod(tensor.shape)} values a row, and "
            f"{len(columns)} columns fill it"
        )
    for column in columns:
        if (column.kind in TEXT) != (tensor.dtype == "string"):
            raise Refused(
                f"the input {tensor.name!r} is {tensor.dtype}, and the column {column.name!r} that "
                f"fills it is a {column.kind}"
            )


def _answer(outputs: list[TensorSignature], task: Task, classes: int, notes: ModelNotes) -> str:
    """Name of the output that answers. Raises Refused where several could."""
    if task == "text-generation":
        texts = [each.name for each in outputs if each.dtype == "string"]
        return notes.answer or (texts or [outputs[0].name])[0]
    names = [each.name for each in outputs]
    if notes.answer:
        if notes.answer not in names:
            raise Refused(f"model.json names the output {notes.answer!r}, expected one of {names}")
        return notes.answer
    numbers = [each for each in outputs if each.dtype not in ("string", "bool")]
    wanted = {"classification": ([classes],), "regression": ([], [1])}.get(task)
    fitting = [each for each in numbers if wanted is None or each.shape in wanted]
    if len(fitting) > 1:
        raise Refused(
            f"the outputs {[each.name for each in fitting]} could each answer the {task}: leave "
            "model.json with answer: OUTPUT beside the model"
        )
    # Without one that fits, the check of the signature says what is wrong with the first.
    return (fitting or numbers or outputs)[0].name


def _order(known: list[str], wanted: list[str]) -> list[int]:
    """Position of each wanted class among those that the model knows; empty where they are in
    order, or one side knows none.

    Raises Refused where they are not the same. Numbers are compared as numbers: 1 is 1.0.
    """
    places = list(range(len(wanted)))
    if not known or not wanted:
        return []
    place = {_plain(name): position for position, name in enumerate(known)}
    missing = [name for name in wanted if _plain(name) not in place]
    if missing or len(known) != len(wanted):
        raise Refused(
            f"the model knows the classes {', '.join(known[:20])}, expected those of the dataset: "
            f"{', '.join(wanted[:20])}; name the classes in the order of the model's scores by "
            "hyperparameters: {classes: [...]} of a finished model, or by classes in a model.json "
            "that a trainer leaves beside its model; or use the model of this dataset"
        )
    order = [place[_plain(name)] for name in wanted]
    return [] if order == places else order


def _plain(name: str) -> str | float:
    try:
        return float(name)
    except ValueError:
        return name


def are_probabilities(scores: np.ndarray) -> bool:
    """Whether the scores [rows, classes] are shares that add up to one in every row."""
    is_share = bool((scores >= 0).all() and (scores <= 1 + SURE).all())
    return is_share and bool((np.abs(scores.sum(axis=1) - 1) < SURE).all())
