"""Small real artefacts, and held-out rows to try them on."""

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.artefact import ONNX, SIGNATURE, Column, Signature, TensorSignature, seal
from projects.suite_kinds import read_suite
from simulations.contract import SimulationSpec
from simulations.subject import Subject
from tests.training.tables import files_of, questions
from training.contract import TrainingSpec

PIXELS = [f"pixel_{i}" for i in range(64)]
DIGITS = [str(digit) for digit in range(10)]


def linear_artefact(folder, weights, task, classes=(), features=(), actions="scores"):
    """Sealed artefact in the folder of rows @ weights, and its digest; without a program."""
    inputs, outputs = weights.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["rows", "weights"], ["scores"])],
        "linear",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", inputs])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", outputs])],
        [numpy_helper.from_array(weights.astype(np.float32), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True)
    onnx.save(model, folder / ONNX)
    signature = Signature(
        inputs=[
            TensorSignature(name="rows", dtype="float32", shape=[inputs], columns=list(features))
        ],
        outputs=[TensorSignature(name="scores", dtype="float32", shape=[outputs])],
        task=task,
        classes=list(classes),
        columns=[Column(name=name, kind="number") for name in features],
        actions=actions,
    )
    (folder / SIGNATURE).write_text(signature.model_dump_json())
    return folder, seal(folder)


@pytest.fixture(scope="session")
def digits():
    """Training rows and labels, held-out rows and labels of the bundled digits."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    rows, labels = load_digits(return_X_y=True)
    train, test, train_y, test_y = train_test_split(
        rows.astype(np.float32), labels, test_size=400, random_state=0, stratify=labels
    )
    return train, train_y, test, test_y


@pytest.fixture(scope="session")
def weights(digits):
    """Weights [64, 10] of a ridge regression onto the classes: a plain linear reader."""
    train, labels, _, _ = digits
    targets = np.eye(10)[labels]
    return np.linalg.solve(train.T @ train + 50 * np.eye(64), train.T @ targets)


@pytest.fixture(scope="session")
def reader_artefact(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader") / "artefact"
    return linear_artefact(folder, weights, "classification", DIGITS, PIXELS)


@pytest.fixture(scope="session")
def reader(reader_artefact):
    return Subject(*reader_artefact)


@pytest.fixture(scope="session")
def held_out(digits, tmp_path_factory):
    """Parquet file of the held-out rows and their label."""
    _, _, rows, labels = digits
    file = tmp_path_factory.mktemp("rows") / "test.parquet"
    columns = {name: rows[:, i] for i, name in enumerate(PIXELS)}
    pq.write_table(pa.table({**columns, "target": labels}), file)
    return file


@pytest.fixture(scope="session")
def policy_artefact(tmp_path_factory):
    """Pushes towards where the pole falls: a known-good linear policy for CartPole-v1."""
    push_right = np.array([0.1, 0.4, 3.0, 1.0])
    folder = tmp_path_factory.mktemp("policy") / "artefact"
    return linear_artefact(folder, np.stack([-push_right, push_right], axis=1), "control")


@pytest.fixture(scope="session")
def policy(policy_artefact):
    return Subject(*policy_artefact)


@pytest.fixture(scope="session")
def constant_policy(tmp_path_factory):
    """Scores both actions alike, so that the first, push left, is always chosen."""
    folder = tmp_path_factory.mktemp("constant") / "artefact"
    return Subject(*linear_artefact(folder, np.zeros((4, 2)), "control"))


@pytest.fixture(scope="session")
def animals(tmp_path_factory):
    """A language model that knows what animals say, and its held-out rows."""
    from tests.training.tiny_networks import gpt
    from training.main import fit, gather

    folder = tmp_path_factory.mktemp("animals")
    table = questions(200)
    dataset = files_of(table, "answer", folder, task="text-generation")
    words = [word for row in table.to_pylist() for text in row.values() for word in text.split()]
    spec = TrainingSpec(
        job="animals",
        workdir=folder / "work",
        timeout_s=60,
        project="farm",
        model="voices",
        trainer="training.language.writer:train",
        hyperparameters={
            "pretrained": str(gpt(folder / "gpt", words)),
            "epochs": 16,
            "learning_rate": 5e-3,
            "written": 8,
        },
        seed=1,
        dataset=dataset,
    )
    return gather(spec, fit(spec, use_gpu=False), "cpu"), dataset


@pytest.fixture
def measured(animals, tmp_path):
    """Runs the suite on the model of the animals, and gives its measurements by name."""

    from simulations.main import simulate

    def measure(suite, **more):
        trained, dataset = animals
        spec = SimulationSpec(
            job="voices",
            workdir=tmp_path / "work",
            timeout_s=60,
            project="farm",
            simulation="voices",
            model="voices",
            suite=read_suite(suite).model_dump(mode="json"),
            artefact=trained.artefact,
            artefact_digest=trained.artefact_digest,
            rows=dataset.test,
            label=dataset.label,
            **more,
        )
        found = simulate(spec).evidence.measurements
        return {(each.metric, each.scenario): each for each in found}

    return measure
