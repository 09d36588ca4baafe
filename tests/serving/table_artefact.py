"""An artefact that takes a table: numbers, booleans and dates in one input, texts in another."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.artefact import EXAMPLE, ONNX, SIGNATURE, Column, Signature, TensorSignature, seal

CITIES = ["oslo", "rome"]
COLUMNS = [
    Column(name="age", kind="number", nullable=True, low=0, high=120),
    Column(name="member", kind="boolean"),
    Column(name="joined", kind="date", nullable=True),
    Column(name="city", kind="category", nullable=True, categories=CITIES),
]


def write_table_artefact(folder: Path) -> str:
    """Digest of the artefact, now in the folder.

    The score of `yes` is age + 100 member + joined + 1000 for oslo or 2000 for rome, where what is
    missing adds nothing; the score of `no` is 0.
    """
    folder.mkdir()
    (folder / ONNX).write_bytes(_model().SerializeToString())
    numbers = TensorSignature(
        name="numbers", dtype="float32", shape=[3], columns=["age", "member", "joined"]
    )
    city = TensorSignature(name="city", dtype="string", shape=[1], columns=["city"])
    signature = Signature(
        inputs=[numbers, city],
        outputs=[TensorSignature(name="scores", dtype="float32", shape=[2])],
        task="classification",
        classes=["no", "yes"],
        columns=COLUMNS,
    )
    (folder / SIGNATURE).write_text(signature.model_dump_json())
    (folder / EXAMPLE).write_text(json.dumps([[30, True, "2026-01-31", "oslo"]]))
    return seal(folder)


def _model() -> onnx.ModelProto:
    nodes = [
        helper.make_node("IsNaN", ["numbers"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "numbers"], ["known"]),
        helper.make_node("MatMul", ["known", "weights"], ["sum"]),
        helper.make_node(
            "LabelEncoder",
            ["city"],
            ["place"],
            domain="ai.onnx.ml",
            keys_strings=CITIES,
            values_floats=[1000.0, 2000.0],
            default_float=0.0,
        ),
        helper.make_node("Add", ["sum", "place"], ["yes"]),
        helper.make_node("Mul", ["yes", "zero"], ["no"]),
        helper.make_node("Concat", ["no", "yes"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "table",
        [
            helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["rows", 3]),
            helper.make_tensor_value_info("city", TensorProto.STRING, ["rows", 1]),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", 2])],
        [
            numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
            numpy_helper.from_array(np.array([[1], [100], [1]], np.float32), "weights"),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)
