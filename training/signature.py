"""The signature of an exported model: what its tensors are, and which columns fill them."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from engine.artefact import (
    ONNX,
    Column,
    DType,
    ModelNotes,
    Signature,
    Task,
    TensorSignature,
    output_fault,
)
from engine.protocol import Refused
from engine.rows import columns_of, read_rows
from engine.runtime.onnx_model import zeros
from engine.runtime.tensors import TEXT, Tensors, tensors_of
from training.contract import DatasetFiles

EXAMPLE_ROWS = 2
DTYPES: dict[str, DType] = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    "tensor(string)": "string",
}
SURE = 1e-3
"""Scores whose sum differs from 1 by less are probabilities."""


def signature_of(folder: Path, dataset: DatasetFiles | None, notes: ModelNotes) -> Signature:
    """The signature of the ONNX model in the folder, with the columns of the dataset.

    Raises Refused where the model's tensors fit neither the columns nor the task.
    """
    session = _opened(folder / ONNX)
    classes = dataset.classes if dataset else []
    inputs, columns = _filled([_tensor(node) for node in session.get_inputs()], dataset, notes)
    outputs = [_tensor(node) for node in session.get_outputs()]
    task = task_of(dataset)
    signature = Signature(
        inputs=inputs,
        outputs=outputs,
        task=task,
        classes=classes,
        columns=columns,
        answer=_answer(outputs, task, len(classes), notes),
        actions=notes.actions,
    )
    if fault := output_fault(signature):
        raise Refused(f"the exported model cannot be used: {fault}")
    if not classes:
        return signature
    _, tensors = example_of(signature, dataset)
    scores = session.run([signature.output.name], tensors)[0]
    return signature.model_copy(update={"probabilities": _are_probabilities(np.asarray(scores))})


def task_of(dataset: DatasetFiles | None) -> Task:
    """What a model of the dataset predicts; a model without one controls."""
    if dataset is None:
        return "control"
    return dataset.task or ("classification" if dataset.classes else "regression")


def example_of(signature: Signature, dataset: DatasetFiles | None) -> tuple[list[Any], Tensors]:
    """Two rows by position, as JSON, and as tensors: of the training split, else zeros."""
    inputs = [each.model_dump() for each in signature.inputs]
    if dataset is None or not dataset.train or not signature.columns:
        tensors = zeros(signature.model_dump(), EXAMPLE_ROWS)
        return next(iter(tensors.values())).tolist(), tensors
    table = read_rows(dataset.train[:1], signature.features).slice(0, EXAMPLE_ROWS)
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


def _opened(model: Path) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    # ONNX Runtime raises classes of its own, which share no base but Exception.
    except Exception as error:
        raise Refused(
            f"ONNX Runtime cannot open the model: {error}; export it with operators and an opset "
            f"that ONNX Runtime {onnxruntime.__version__} has"
        ) from error


def _tensor(node: onnxruntime.NodeArg) -> TensorSignature:
    if node.type not in DTYPES:
        zipped = ": convert with options={'zipmap': False}" if node.type.startswith("seq") else ""
        raise Refused(f"{node.name} is {node.type}, expected one of {', '.join(DTYPES)}{zipped}")
    shape = node.shape[1:]
    is_dynamic = bool(node.shape) and not isinstance(node.shape[0], int)
    if not is_dynamic or not all(isinstance(size, int) for size in shape):
        raise Refused(
            f"{node.name} has shape {node.shape}, expected a dynamic first dimension and fixed "
            "others: pass dynamic_shapes=({0: torch.export.Dim('batch')},) to torch.export.export"
        )
    return TensorSignature(name=node.name, dtype=DTYPES[node.type], shape=shape)


def _filled(
    inputs: list[TensorSignature], dataset: DatasetFiles | None, notes: ModelNotes
) -> tuple[list[TensorSignature], list[Column]]:
    """The inputs with the columns that fill them, and these columns. Raises Refused."""
    if dataset is None:
        if len(inputs) != 1:
            raise Refused(f"the policy has {len(inputs)} inputs, expected one: what it observes")
        return inputs, []
    known = {column.name: column for column in columns_in(dataset)}
    names = _names(inputs, dataset, notes, known)
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


def _are_probabilities(scores: np.ndarray) -> bool:
    is_share = bool((scores >= 0).all() and (scores <= 1 + SURE).all())
    return is_share and bool((np.abs(scores.sum(axis=1) - 1) < SURE).all())
