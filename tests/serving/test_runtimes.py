"""Every runtime: a trainer leaves a model for it, a service answers as the model itself does, and
MLflow loads it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy as np
import psutil
import pytest
import skops.io
import torch
from sklearn.compose import make_column_transformer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder

from engine.artefact import Signature, read_signature
from engine.runtime.request import RequestReader
from projects.schema import Service
from resources.compute.requirements import Requirements
from resources.tracking.adapter import Tracking
from serving.contract import MOST_ROWS, PackagingResult
from tests.serving.conftest import answering_process, package_artefact
from tests.training.tables import files_of, opinions, questions, wine
from tests.training.tiny_networks import bert, gpt
from training.contract import DatasetFiles
from training.export import export
from training.runtimes.target import targets

INFER = "/v2/models/flowers.classifier-api/infer"


class Left(NamedTuple):
    """What a trainer has left, and what its model answers."""

    dataset: DatasetFiles | None
    rows: list[list[Any]]
    outputs: np.ndarray


def program(checkpoint: Path, module: torch.nn.Module) -> Left:
    dynamic = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(module, (torch.zeros(2, 4),), dynamic_shapes=dynamic)
    torch.export.save(exported, checkpoint / "model.pt2")
    rows = [[1.0, 2.0, 3.0, 4.0], [0.0, -1.0, 0.5, 2.0]]
    return Left(None, rows, module(torch.tensor(rows)).detach().numpy())


class Bessel(torch.nn.Module):
    """A function that ONNX has no operator for."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(rows)


def scikit_learn(checkpoint: Path) -> Left:
    table = wine(200).select(["region", "year", "organic", "grape"])
    table = table.filter(table["region"].is_valid())
    dataset = files_of(table, "grape", checkpoint.parent / "cellar")
    frame = table.to_pandas()
    model = make_pipeline(
        make_column_transformer((TargetEncoder(), ["region"]), remainder="passthrough"),
        KNeighborsClassifier(3),
    ).fit(frame.drop(columns="grape"), frame["grape"])
    skops.io.dump(model, checkpoint / "model.skops")
    asked = frame.drop(columns="grape").head(4)
    rows = [[r, y, bool(o)] for r, y, o in asked.itertuples(index=False)]
    return Left(dataset, rows, model.predict_proba(asked))


def transformers(checkpoint: Path) -> Left:
    from transformers import pipeline

    table = opinions(40)
    dataset = files_of(table, "opinion", checkpoint.parent / "reviews")
    texts = table.column("text").to_pylist()
    words = [word for text in texts for word in text.split()]
    folder = bert(checkpoint / "transformers", words, ["bad", "good"])
    asked = pipeline("text-classification", str(folder), top_k=None, function_to_apply="none")
    told = [{each["label"]: each["score"] for each in one} for one in asked(texts[:4])]
    rows = [[text] for text in texts[:4]]
    return Left(dataset, rows, np.array([[each["bad"], each["good"]] for each in told]))


def writing(checkpoint: Path) -> Left:
    from transformers import AutoTokenizer, GPT2LMHeadModel

    table = questions(40)
    dataset = files_of(table, "answer", checkpoint.parent / "asked", task="text-generation")
    words = [word for row in table.to_pylist() for text in row.values() for word in text.split()]
    folder = gpt(checkpoint / "transformers", words)
    network, tokenizer = (
        GPT2LMHeadModel.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    network.generation_config.max_new_tokens = 5
    network.save_pretrained(folder)
    asked = ["says the owl", "what please says the cow"]
    written = []
    for text in asked:
        tokens = torch.tensor([tokenizer(text)["input_ids"]])
        made = network.generate(tokens, max_new_tokens=5, do_sample=False)
        written.append(tokenizer.decode(made[0, tokens.shape[1] :], skip_special_tokens=True))
    return Left(dataset, [[text] for text in asked], np.array(written, object))


LEAVES: dict[str, tuple[str, Callable[[Path], Left]]] = {
    "onnx": ("onnx", lambda checkpoint: program(checkpoint, torch.nn.Linear(4, 3))),
    "pytorch": ("pytorch", lambda checkpoint: program(checkpoint, Bessel())),
    "scikit-learn": ("scikit_learn", scikit_learn),
    "classifies texts": ("transformers", transformers),
    "writes texts": ("transformers", writing),
}


def test_every_runtime_is_tried():
    assert {runtime for runtime, _ in LEAVES.values()} == targets().keys()


@pytest.mark.parametrize(("runtime", "leave"), LEAVES.values(), ids=LEAVES)
def test_a_service_and_mlflow_answer_as_the_model_itself_does(runtime, leave, tmp_path):
    checkpoint, artefact = tmp_path / "checkpoint", tmp_path / "artefact"
    checkpoint.mkdir()
    left = leave(checkpoint)
    digest = export(checkpoint, artefact, left.dataset)
    signature = read_signature(artefact)
    assert signature.runtime == runtime

    _, packaged = package_artefact(tmp_path, artefact, digest, 1)
    with answering_process(packaged) as client:
        answer = client.post("/predict", json={"inputs": left.rows}).json()
        said = client.get("/v2/models/flowers.classifier-api").json()["outputs"]
        inferred = client.post(INFER, json=_tensors(signature, left.rows)).json()
        used_mib = _used_mib(packaged)
    asked = Requirements.of_service(Service(model="m"), packaged.replica_mib)
    assert used_mib < int(asked.memory.removesuffix("Mi")) < 3 * used_mib + 64
    _require_equal(answer["outputs"], left.outputs)
    flat = np.asarray(left.outputs).reshape(-1)
    assert said[0]["name"] == signature.output.name
    _require_equal(inferred["outputs"][0]["data"], flat)

    files = (tmp_path / "mlflow").as_uri()
    tracking = Tracking(f"sqlite:///{tmp_path / 'mlflow.db'}", files, "http://ui")
    run = mlflow.MlflowClient(tracking.uri)
    experiment = run.create_experiment("e", files)
    started = run.create_run(experiment)
    version = tracking.register(
        "p.m", artefact, digest, "key", started.info.run_id, signature, {}, "a model"
    )
    loaded = _loaded(f"models:/p.m/{version.version}", tracking.uri)
    reader = RequestReader(signature.model_dump(mode="json"), MOST_ROWS)
    tensors = reader.read(json.dumps({"inputs": left.rows}).encode()).tensors
    answered = loaded.predict(tensors)
    if isinstance(answered, dict):
        answered = answered[signature.output.name]
    _require_equal(answered, left.outputs)


def _used_mib(packaged: PackagingResult) -> float:
    """Memory of the process that serves the Bento."""
    program = str(packaged.bento / "src" / "serve.py")
    (serving,) = (p for p in psutil.process_iter() if program in _command(p))
    return serving.memory_full_info().uss / (1 << 20)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _tensors(signature: Signature, rows: list[list[Any]]) -> dict[str, Any]:
    """The rows in the Open Inference Protocol, by column where there are some."""
    inputs: list[dict[str, Any]] = []
    for position, column in enumerate(signature.columns):
        data = [row[position] for row in rows]
        kind = {"boolean": "BOOL", "integer": "INT64"}.get(column.kind, "BYTES")
        shape = [len(rows)]
        inputs.append({"name": column.name, "datatype": kind, "shape": shape, "data": data})
    if not inputs:
        (taken,) = signature.inputs
        shape = [len(rows), len(rows[0])]
        inputs.append({"name": taken.name, "datatype": "FP32", "shape": shape, "data": rows})
    return {"inputs": inputs}


def _require_equal(answered: Any, expected: np.ndarray) -> None:
    if expected.dtype == object:
        assert list(answered) == list(expected)
    else:
        np.testing.assert_allclose(np.asarray(answered), expected, atol=1e-5)


def _loaded(model: str, uri: str) -> mlflow.pyfunc.PyFuncModel:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        return mlflow.pyfunc.load_model(model)
    finally:
        mlflow.set_tracking_uri(before)
