"""Changes to the graph of an ONNX model that leave what it computes: scores as one tensor, in the
order of the dataset's classes."""

import math
from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.protocol import Refused

MAP = "ZipMap"
LABELS = ("classlabels_strings", "classlabels_int64s", "classlabels_ints", "cats_strings")
IN_ORDER = "scores_in_order"


def without_map(model: onnx.ModelProto) -> None:
    """Let a classifier give its probabilities [rows, classes] in place of a map for each row,
    which converters of scikit-learn add by default."""
    graph = model.graph
    for node in [each for each in graph.node if each.op_type == MAP]:
        output = next((each for each in graph.output if each.name == node.output[0]), None)
        if output is None:
            continue
        size = len(_labels_of(node)) or None
        graph.node.remove(node)
        # The tensor keeps the name of the output that it becomes.
        graph.node.append(helper.make_node("Identity", [node.input[0]], [node.output[0]]))
        place = list(graph.output).index(output)
        graph.output[place].CopyFrom(
            helper.make_tensor_value_info(output.name, TensorProto.FLOAT, ["rows", size])
        )


def classes_in(model: onnx.ModelProto) -> list[str]:
    """Classes in the order of the scores, as the classifier in the graph names them; empty where
    none does, or several differ."""
    found = {tuple(labels) for node in model.graph.node if (labels := _labels_of(node))}
    return list(found.pop()) if len(found) == 1 else []


def _labels_of(node: onnx.NodeProto) -> list[str]:
    if not (node.op_type == MAP or node.op_type.endswith("Classifier")):
        return []
    for attribute in node.attribute:
        if attribute.name in LABELS:
            texts = [text.decode("utf-8", "replace") for text in attribute.strings]
            return texts or [str(number) for number in attribute.ints]
    return []


def in_order(file: Path, order: list[int], answer: str) -> None:
    """Let the output with the scores give them in this order. Raises Refused."""
    if order == list(range(len(order))):
        return
    model = onnx.load(file)
    graph = model.graph
    fitting = [each for each in graph.output if _is_scores(each, len(order), answer)]
    if len(fitting) != 1:
        names = [each.name for each in graph.output]
        raise Refused(
            f"one of the outputs {names} must be the scores of {len(order)} classes; name it by "
            "hyperparameters: {answer: OUTPUT}"
        )
    (output,) = fitting
    inner = f"{output.name}_{IN_ORDER}"
    for node in graph.node:
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                if name == output.name:
                    names[position] = inner
    graph.initializer.append(numpy_helper.from_array(_int64(order), IN_ORDER))
    graph.node.append(helper.make_node("Gather", [inner, IN_ORDER], [output.name], axis=1))
    onnx.save(model, file)


def _is_scores(output: onnx.ValueInfoProto, classes: int, answer: str) -> bool:
    if answer:
        return output.name == answer
    kind = output.type.tensor_type
    sizes = [dimension.dim_value for dimension in kind.shape.dim]
    return kind.elem_type != TensorProto.STRING and sizes[1:] == [classes]


def _int64(values: list[int]):  # noqa: ANN202
    import numpy as np

    return np.array(values, np.int64)


def parameters_in(file: Path) -> int:
    """Numbers that the model has learned: those of its initializers and of its trees."""
    graph = onnx.load(file, load_external_data=False).graph
    weights = sum(math.prod(each.dims) for each in graph.initializer)
    learned = (len(a.floats) for node in graph.node if node.domain for a in node.attribute)
    return weights + sum(learned)
