"""Tables of any columns are learned, exported with their feature steps, and resumed."""

import copy
import json

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline

from engine.artefact import read_signature
from engine.runtime.model import Model
from engine.runtime.request import RequestReader
from resources.compute.contract import JobRefused
from tests.training.tables import files_of, wine
from training.contract import TrainingResult
from training.table_learners import LEARNERS, BoostedTrees, Network, Work
from training.tables import Hyperparameters, Progress

ITERATIONS = {"linear": 200, "network": 60}
"""Of learners that need others than the shipped trees."""


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


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_table_with_text_and_missing_values_is_learned(trained, learner):
    result = trained(learner=learner, iterations=ITERATIONS.get(learner, 20))

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


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_number_is_learned(trained, learner):
    result = trained("price", learner=learner, iterations=ITERATIONS.get(learner, 20))

    assert result.metrics["test_rmse"] < result.metrics["baseline_rmse"] / 2
    assert "residuals.png" in {picture.name for picture in result.pictures}


def test_the_artefact_takes_raw_rows_by_column_name(trained):
    artefact = trained().artefact
    model = Model(artefact)
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


def test_a_weight_says_how_much_a_row_counts(trained, tmp_path):
    rows = np.arange(400)
    table = pa.table(
        {
            "x": np.zeros(400),
            "price": np.where(rows % 2, 1.0, 5.0),
            "counts": np.where(rows % 2, 3, 1),
        }
    )
    files = files_of(table, "price", tmp_path, task="regression", weight="counts")

    result = trained(dataset=files, learner="linear")

    # The answer is 2, the weighted mean, and the rows that it is measured on count once.
    assert [c.name for c in result.signature.columns] == ["x"]
    assert abs(result.metrics["test_rmse"] - np.sqrt((1 + 9) / 2)) < 0.2
    assert result.metrics["baseline_rmse"] < 2.05


def test_boosted_trees_end_where_validation_rows_get_no_better(trained, tmp_path):
    generator = np.random.default_rng(0)
    table = pa.table({"x": generator.random(600), "even": generator.integers(0, 2, 600)})
    files = files_of(table, "even", tmp_path, split={"validation": 0.3})

    result = trained(dataset=files, iterations=200, learning_rate=0.5, patience=2)

    assert result.reports == 3
    # Of noise nothing can be learned: what is kept is the model of the first report.
    assert result.metrics["validation_log_loss"] < 1.2


def test_the_best_model_is_kept_while_others_are_worse():
    first, second, third = (Pipeline([("learner", n)]) for n in "abc")
    progress = Progress().after(10, first, {"validation_log_loss": 0.5})
    progress = progress.after(20, second, {"validation_log_loss": 0.6})

    assert (progress.iteration, progress.worse) == (20, 1)
    assert progress.best.steps == first.steps
    assert progress.after(30, third, {"validation_log_loss": 0.4}).best.steps == third.steps
    assert progress.after(30, third, {}) == progress._replace(iteration=30)


def test_a_network_goes_on_where_it_was_with_values_of_any_scale():
    settings = Hyperparameters(layers=[16], learning_rate=0.01)
    rows = np.random.default_rng(0).normal(size=(400, 3))
    values = 5_000 + 300 * rows @ np.array([1.0, -2.0, 0.5])
    learner, network = Network(), Network().build(settings, is_class=False, seed=0)

    losses = []

    def reached(iterations: int, fitted: MLPRegressor) -> bool:
        losses.append(float(np.abs(fitted.predict(rows) - values).mean()))
        return iterations == 90

    learner.fit(network, Work(rows, values, None, 0, [30, 60, 90]), reached)

    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 60


def test_boosted_trees_of_one_call_are_those_of_scikit_learn_at_every_mark():
    settings = Hyperparameters(iterations=6)
    rows = np.random.default_rng(0).normal(size=(10_100, 3))
    classes = (rows[:, 0] * rows[:, 1] > 0).astype(int)
    classes[0] = 2
    learner, kept = BoostedTrees(), {}

    def reached(iterations: int, fitted: HistGradientBoostingClassifier) -> bool:
        kept[iterations] = fitted
        return iterations == 4

    trees = learner.build(settings, is_class=True, seed=3)
    learner.fit(trees, Work(rows, classes, None, 0, [2, 4, 6]), reached)
    at_once = kept[4]
    learner.fit(copy.deepcopy(kept[2]), Work(rows, classes, None, 2, [4, 6]), reached)

    bare = learner.build(settings, is_class=True, seed=3).set_params(max_iter=4).fit(rows, classes)
    assert kept[4] is not at_once
    for trees in (at_once, kept[4]):
        assert trees.n_iter_ == 4
        assert np.allclose(trees.predict_proba(rows), bare.predict_proba(rows))


def test_balanced_rows_of_a_network_multiply_the_weights_of_the_dataset():
    targets, settings = np.array([0, 0, 0, 1]), Hyperparameters(balanced=True)

    plain = Network().weights(settings, targets, None)
    weighted = Network().weights(settings, targets, np.array([2.0, 1, 1, 1]))

    assert plain.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])
    assert weighted.tolist() == pytest.approx([4 / 3, 2 / 3, 2 / 3, 2])
    assert Network().weights(Hyperparameters(), targets, None) is None
