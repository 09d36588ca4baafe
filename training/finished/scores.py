"""The scores in the graph of an ONNX model: as one tensor, and of which classes."""

import math
from pathlib import Path

import onnx
from onnx import TensorProto, helper

MAP = "ZipMap"
LABELS = ("classlabels_strings", "classlabels_int64s", "classlabels_ints", "cats_strings")


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


def parameters_in(file: Path) -> int:
    """Numbers that the model has learned: those of its initializers and of its trees."""
    graph = onnx.load(file, load_external_data=False).graph
    weights = sum(math.prod(each.dims) for each in graph.initializer)
    learned = (len(a.floats) for node in graph.node if node.domain for a in node.attribute)
    return weights + sum(learned)
