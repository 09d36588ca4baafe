"""Boosted trees of XGBoost's own files are brought as they answer."""

import sys

import numpy as np
import pyarrow as pa
import pytest
from engine.runtime.model import Model

from engine.protocol import Refused
from engine.rows import read_rows
from tests.training.tables import files_of, wine

xgboost = pytest.importorskip("xgboost")


@pytest.fixture
def cellar(tmp_path):
    """Makes a dataset version of numbers, one of which has gaps."""

    def make(label, values, **more):
        table = wine().select(["year", "sugar (g/l)"])
        columns = {name: table[name] for name in table.column_names}
        return files_of(
            pa.table({**columns, **more, label: values(table)}), label, tmp_path / label
        )

    return make


def sugar(table):
    return np.nan_to_num(table["sugar (g/l)"].to_numpy())


def rows_of(dataset, split="train"):
    frame = read_rows(getattr(dataset, split), [*dataset.features, dataset.label]).to_pandas()
    return frame[dataset.features], frame[dataset.label].to_numpy()


def scores_of(result, rows):
    (given,) = result.signature.inputs
    tensor = rows[given.columns].to_numpy(np.float32)
    return Model(result.artefact).answers({given.name: tensor})


@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_two_classes_have_probabilities_in_their_order(brought, cellar, tmp_path, suffix):
    dataset = cellar("sweet", lambda table: np.where(sugar(table) > 2, "yes", "no").tolist())
    rows, labels = rows_of(dataset)
    turned = rows[rows.columns[::-1]]
    model = xgboost.XGBClassifier(n_estimators=10).fit(turned, labels == "yes")
    model.save_model(tmp_path / f"trees.{suffix}")

    result = brought(tmp_path / f"trees.{suffix}", dataset)

    assert result.signature.classes == ["no", "yes"]
    assert [c.name for c in result.signature.columns] == [*dataset.features]
    assert result.metrics["test_accuracy"] > 0.9
    held_out, _ = rows_of(dataset, "test")
    assert held_out["sugar (g/l)"].isna().any()
    expected = model.predict_proba(held_out[turned.columns])
    assert np.allclose(scores_of(result, held_out), expected, atol=1e-5)


@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
def test_numbered_classes_are_told_apart_by_size(brought, cellar, tmp_path, objective):
    dataset = cellar("grade", lambda table: np.array([2, 5, 10])[np.digitize(sugar(table), [1, 3])])
    rows, labels = rows_of(dataset)
    trees = xgboost.train(
        {"objective": objective, "num_class": 3},
        xgboost.DMatrix(rows.to_numpy(), np.searchsorted([2, 5, 10], labels)),
        num_boost_round=10,
    )
    trees.save_model(tmp_path / "trees.json")

    result = brought(tmp_path / "trees.json", dataset)

    assert result.signature.classes == sorted(["2", "5", "10"], key=result.signature.classes.index)
    assert result.metrics["test_accuracy"] > 0.9


def test_a_number_is_predicted_by_the_best_iteration(brought, cellar, tmp_path):
    dataset = cellar("price", lambda table: 50 + sugar(table) + np.arange(len(table)) % 7)
    rows, prices = rows_of(dataset)
    model = xgboost.XGBRegressor(n_estimators=60, early_stopping_rounds=2, learning_rate=0.5)
    model.fit(rows[:200], prices[:200], eval_set=[(rows[200:], prices[200:])], verbose=False)
    assert model.best_iteration < model.get_booster().num_boosted_rounds() - 1
    model.save_model(tmp_path / "trees.ubj")

    result = brought(tmp_path / "trees.ubj", dataset)

    held_out, _ = rows_of(dataset, "test")
    expected = model.predict(held_out)
    assert np.allclose(scores_of(result, held_out).ravel(), expected, atol=1e-3)


def test_categories_and_other_boosters_are_refused(brought, cellar, tmp_path):
    dataset = cellar("price", lambda table: 50 + sugar(table))
    rows, prices = rows_of(dataset)
    with_kind = rows.assign(year=rows["year"].astype("category"))
    trees = xgboost.XGBRegressor(n_estimators=2, enable_categorical=True).fit(with_kind, prices)
    trees.save_model(tmp_path / "categories.json")
    line = xgboost.XGBRegressor(n_estimators=2, booster="gblinear").fit(rows.fillna(0), prices)
    line.save_model(tmp_path / "line.json")

    with pytest.raises(Refused, match=r"fitted with categories \(the column 'year'\)"):
        brought(tmp_path / "categories.json", dataset)
    with pytest.raises(Refused, match="of the booster gblinear, expected gbtree"):
        brought(tmp_path / "line.json", dataset)


def test_a_column_that_is_a_text_or_is_not_there_is_named(brought, cellar, tmp_path):
    kinds = {"kind": ["red", "white"] * 200}
    dataset = cellar("price", lambda table: 50 + sugar(table), **kinds)
    rows, prices = rows_of(dataset)
    for name in ("kind", "colour"):
        model = xgboost.XGBRegressor(n_estimators=2).fit(
            rows.rename(columns={"year": name}), prices
        )
        model.save_model(tmp_path / f"{name}.json")

    with pytest.raises(Refused, match="takes numbers, and the column 'kind' is a category"):
        brought(tmp_path / "kind.json", dataset)
    with pytest.raises(Refused, match="was fitted with the column 'colour', expected columns"):
        brought(tmp_path / "colour.json", dataset)


def test_a_damaged_file_and_a_missing_library_are_named(brought, iris, tmp_path, monkeypatch):
    (tmp_path / "trees.json").write_text('{"learner": {}}')

    with pytest.raises(Refused, match=r"trees\.json is no model of XGBoost"):
        brought(tmp_path / "trees.json")
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(Refused, match=r"install the extra: orrery\[xgboost\]"):
        brought(tmp_path / "trees.json")
