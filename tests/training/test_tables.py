"""Tables of any columns are learned, exported with their feature steps, and resumed."""

import json

import numpy as np
import pytest

from engine.artefact import read_signature
from engine.runtime.onnx_model import OnnxModel
from engine.runtime.request import RequestReader
from resources.compute.contract import JobRefused
from tests.training.tables import files_of, wine
from training.contract import TrainingResult


@pytest.fixture
def trained(compute, spec_of, tmp_path):
    """Trains on the wine table and gives the result."""

    def train(label="grape", dataset=None, job="job", **hyperparameters):
        dropped = wine().drop_columns(["price" if label == "grape" else "grape"])
        spec = spec_of(
            job=job,
            trainer="training.tables:train",
            dataset=dataset or files_of(dropped, label, tmp_path),
        )
        spec = spec.model_copy(update={"hyperparameters": {"iterations": 20, **hyperparameters}})
        return compute.run("training.main", spec, TrainingResult, lambda _: None)

    return train


@pytest.mark.parametrize("learner", ["boosted_trees", "forest", "linear"])
def test_a_table_with_text_and_missing_values_is_learned(trained, learner):
    result = trained(learner=learner, iterations=200 if learner == "linear" else 20)

    assert result.metrics["test_accuracy"] > 0.9 > result.metrics["baseline_accuracy"]
    assert result.signature.probabilities
    assert {c.name: (c.kind, c.nullable) for c in result.signature.columns} == {
        "sugar (g/l)": ("number", True),
        "year": ("integer", False),
        "region": ("category", True),
        "note": ("text", False),
        "organic": ("boolean", False),
        "bottled": ("date", False),
    }


@pytest.mark.parametrize("learner", ["boosted_trees", "forest", "linear"])
def test_a_number_is_learned(trained, learner):
    result = trained("price", learner=learner)

    assert result.metrics["test_rmse"] < result.metrics["baseline_rmse"] / 2
    assert "residuals.png" in {picture.name for picture in result.pictures}


def test_the_artefact_takes_raw_rows_by_column_name(trained):
    artefact = trained().artefact
    model = OnnxModel(artefact)
    row = {
        "sugar (g/l)": None,
        "year": 2001,
        "region": "south",
        "note": "Élan plum juicy",
        "organic": True,
        "bottled": "2021-03-01",
    }

    request = RequestReader(model.signature, 10).read(json.dumps({"rows": [row]}).encode())

    scores = model.answers(request.tensors)
    assert read_signature(artefact).classes[int(scores.argmax())] == "barbera"
    assert np.isclose(scores.sum(), 1)


def test_a_class_without_a_training_row_is_named(trained, tmp_path):
    files = files_of(wine().drop_columns(["price"]), "grape", tmp_path)
    lacking = files.model_copy(update={"classes": ["barbera", "barolo", "dolcetto", "grignolino"]})

    with pytest.raises(JobRefused, match="1 of 4 classes have no row to learn from"):
        trained(dataset=lacking)


def test_more_iterations_add_to_those_of_the_checkpoint(trained, compute):
    first = trained(iterations=10)
    (first.checkpoint.parent.parent / "result.json").unlink(missing_ok=True)

    second = trained(iterations=20)

    assert second.resumed_from
    assert second.metrics["test_accuracy"] > 0.9
