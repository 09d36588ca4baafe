"""Finished models are brought from where they lie, and no code of theirs runs."""

import pickle

import numpy as np
import onnx
import pandas as pd
import pytest
import skops.io
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, TargetEncoder
from sklearn.svm import SVC

from engine.protocol import Refused
from engine.rows import read_rows
from tests import buckets
from tests.model_hub import serving_hub
from tests.training.tables import files_of, forest_of, wine
from training.contract import DatasetFiles


def frame_of(dataset: DatasetFiles) -> pd.DataFrame:
    return read_rows(dataset.train, [c.name for c in dataset.columns]).to_pandas()


def labels_of(dataset: DatasetFiles) -> np.ndarray:
    values = read_rows(dataset.train, [dataset.label]).column(0).to_pylist()
    return np.array([str(value) for value in values])


@pytest.fixture
def cellar(tmp_path) -> DatasetFiles:
    table = wine().drop_columns(["price", "note", "bottled"])
    return files_of(table, "grape", tmp_path / "cellar")


def test_a_scikit_learn_pipeline_is_brought_with_its_feature_steps(brought, cellar, tmp_path):
    rows = frame_of(cellar).assign(grape=labels_of(cellar))
    skops.io.dump(forest_of(rows, "grape"), tmp_path / "forest.skops")

    result = brought(tmp_path / "forest.skops", cellar)

    assert result.metrics["test_accuracy"] > result.metrics["baseline_accuracy"]
    assert result.metrics["parameters"] > 100
    assert result.metrics["bytes"] > 1000
    assert [c.name for c in result.signature.columns] == [
        "sugar (g/l)",
        "year",
        "region",
        "organic",
    ]
    assert result.signature.probabilities


def test_a_scikit_learn_model_that_onnx_cannot_run_is_run_by_scikit_learn(
    brought, cellar, tmp_path
):
    rows = frame_of(cellar)[["region", "year"]].assign(region=lambda r: r["region"].fillna(""))
    encoded = make_column_transformer((TargetEncoder(), ["region"]))
    model = make_pipeline(encoded, SVC()).fit(rows, labels_of(cellar))
    skops.io.dump(model, tmp_path / "encoded.skops")

    result = brought(tmp_path / "encoded.skops", cellar)

    assert result.signature.runtime == "scikit_learn"
    assert not result.signature.probabilities
    assert result.metrics["test_accuracy"] > result.metrics["baseline_accuracy"]


def test_a_category_that_the_model_has_never_seen_is_named(brought, cellar, tmp_path):
    rows = frame_of(cellar).fillna({"region": ""})
    known = rows["region"] != "east"
    steps = make_column_transformer((OneHotEncoder(), ["region"]))
    model = make_pipeline(steps, LogisticRegression()).fit(rows[known], labels_of(cellar)[known])
    skops.io.dump(model, tmp_path / "forest.skops")

    with pytest.raises(Refused, match=r"Found unknown categories \['east'\]"):
        brought(tmp_path / "forest.skops", cellar)


def test_a_scikit_learn_model_of_a_matrix_and_a_number_is_brought(brought, tmp_path):
    table = wine().select(["sugar (g/l)", "year", "price"])
    known = files_of(table.filter(table["sugar (g/l)"].is_valid()), "price", tmp_path)
    rows = read_rows(known.train, known.features).to_pandas().to_numpy()
    rows = np.nan_to_num(rows)
    prices = read_rows(known.train, ["price"]).column(0).to_numpy()
    model = make_pipeline(SimpleImputer(), LinearRegression()).fit(rows, prices)
    skops.io.dump(model, tmp_path / "line.skops")

    result = brought(tmp_path / "line.skops", known)

    assert result.metrics["test_rmse"] < result.metrics["baseline_rmse"]


def iris_rows(iris: DatasetFiles) -> tuple[np.ndarray, np.ndarray]:
    rows = read_rows(iris.train, [*iris.features]).to_pandas().to_numpy(np.float32)
    return rows, labels_of(iris)


def test_an_onnx_file_with_a_map_of_probabilities_is_taken(brought, iris, tmp_path):
    rows, labels = iris_rows(iris)
    model = LogisticRegression(max_iter=500).fit(rows, labels)
    exported = to_onnx(model, rows[:1])
    assert any(node.op_type == "ZipMap" for node in exported.graph.node)
    onnx.save(exported, tmp_path / "iris.onnx")

    result = brought(tmp_path / "iris.onnx")

    assert result.metrics["test_accuracy"] > 0.9
    assert result.signature.probabilities


@pytest.mark.parametrize("says", ["file", "declaration"])
def test_scores_are_put_into_the_order_of_the_datasets_classes(brought, iris, tmp_path, says):
    rows, labels = iris_rows(iris)
    renamed = np.array([f"{2 - int(float(label))}-{label}" for label in labels])
    model = LogisticRegression(max_iter=500).fit(rows, renamed)
    exported = to_onnx(model, rows[:1], options={"zipmap": False})
    order = [name.partition("-")[2] for name in model.classes_]
    for node in exported.graph.node:
        for attribute in list(node.attribute):
            if attribute.name == "classlabels_strings":
                node.attribute.remove(attribute)
                names = order if says == "file" else ["2", "1", "0"]
                node.attribute.append(helper.make_attribute("classlabels_strings", names))
    file = tmp_path / "turned.onnx"
    onnx.save(exported, file)

    result = brought(file) if says == "file" else brought(file, classes=order)

    assert result.signature.classes == iris.classes != order
    assert result.metrics["test_accuracy"] > 0.9


def test_a_model_of_other_classes_is_refused(brought, iris, tmp_path):
    rows, labels = iris_rows(iris)
    model = LogisticRegression(max_iter=500).fit(rows, labels)
    onnx.save(to_onnx(model, rows[:1]), tmp_path / "iris.onnx")

    with pytest.raises(Refused, match="knows the classes a, b, c, expected those of the data"):
        brought(tmp_path / "iris.onnx", classes=["a", "b", "c"])


def test_a_pickle_is_refused_and_never_read(brought, tmp_path):
    class Planted:
        def __reduce__(self):
            return (open, (str(tmp_path / "was-here"), "w"))

    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Planted()))

    with pytest.raises(Refused, match=r"model\.pkl runs code when it is read, and is refused"):
        brought(tmp_path / "model.pkl")
    assert not (tmp_path / "was-here").exists()


def strange(value):
    return value


def test_a_skops_file_with_functions_of_others_is_refused(brought, iris, tmp_path):
    rows, labels = iris_rows(iris)
    model = make_pipeline(FunctionTransformer(strange), LogisticRegression()).fit(rows, labels)
    skops.io.dump(model, tmp_path / "odd.skops")

    with pytest.raises(Refused, match="expected types of scikit-learn"):
        brought(tmp_path / "odd.skops")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("model.onnx", b"no model", "is no ONNX model"),
        ("model.skops", b"no model", "is no file of skops"),
        ("notes.txt", b"", "notes.txt is no model that can be read; expected a"),
    ],
)
def test_a_file_that_is_no_model_is_named(brought, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(Refused, match=says):
        brought(tmp_path / name)


def tiny_onnx(operator: str, shape: list) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(operator, ["rows"], ["scores"])],
        "tiny",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("operator", "shape", "says"),
    [
        ("Telepathy", ["rows", 4], "export it with operators and an opset that ONNX Runtime"),
        ("Relu", [8, 4], "expected a dynamic first dimension and fixed others"),
        ("Relu", ["rows", "columns"], "expected a dynamic first dimension and fixed others"),
        ("Relu", ["rows", 4], r"got outputs of shape \['rows', 4\] for 3 classes"),
    ],
)
def test_an_onnx_file_that_cannot_serve_is_refused(brought, tmp_path, operator, shape, says):
    onnx.save(tiny_onnx(operator, shape), tmp_path / "tiny.onnx")

    with pytest.raises(Refused, match=says):
        brought(tmp_path / "tiny.onnx")


def test_of_a_folder_the_only_model_is_taken(brought, iris, tmp_path):
    rows, labels = iris_rows(iris)
    folder = tmp_path / "many"
    (folder / "inner").mkdir(parents=True)
    model = LogisticRegression(max_iter=500).fit(rows, labels)
    onnx.save(to_onnx(model, rows[:1]), folder / "inner" / "a.onnx")
    (folder / "README.md").write_text("a model")

    assert brought(folder).metrics["test_accuracy"] > 0.9

    skops.io.dump(model, folder / "b.skops")
    with pytest.raises(Refused, match=r"several models: b\.skops, inner/a\.onnx; name one"):
        brought(folder)


def test_a_model_of_a_bucket_is_brought(brought, iris, tmp_path, monkeypatch):
    bucket = buckets.make_bucket(monkeypatch)
    rows, labels = iris_rows(iris)
    file = tmp_path / "iris.onnx"
    onnx.save(to_onnx(LogisticRegression(max_iter=500).fit(rows, labels), rows[:1]), file)
    buckets.put("models/iris.onnx", file.read_bytes())

    assert brought(f"{bucket}/models/iris.onnx").metrics["test_accuracy"] > 0.9
    assert brought(f"{bucket}/models").metrics["test_accuracy"] > 0.9
    with pytest.raises(Refused, match="there is no object s3://"):
        brought(f"{bucket}/others")


def test_a_model_that_mlflow_keeps_is_brought(brought, iris, tmp_path, monkeypatch):
    import mlflow.onnx

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    rows, labels = iris_rows(iris)
    model = LogisticRegression(max_iter=500).fit(rows, labels)
    try:
        experiment = mlflow.create_experiment("given", artifact_location=str(tmp_path / "kept"))
        with mlflow.start_run(experiment_id=experiment):
            mlflow.onnx.log_model(
                to_onnx(model, rows[:1]), name="model", registered_model_name="given"
            )

        assert brought("mlflow:models:/given/1").metrics["test_accuracy"] > 0.9
        with pytest.raises(Refused, match="MLflow has no models:/given/7"):
            brought("mlflow:models:/given/7")
    finally:
        mlflow.set_tracking_uri(None)


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path):
    """A hub with the files of a folder, which speaks as the hub does."""
    with serving_hub("acme/iris", COMMIT, tmp_path / "hub"):
        yield tmp_path / "hub"


@pytest.mark.parametrize(
    "address", ["hf:acme/iris", f"hf:acme/iris@{COMMIT}", "hf:acme/iris:onnx/iris.onnx"]
)
def test_a_model_of_the_hub_is_brought(brought, iris, hub, address):
    rows, labels = iris_rows(iris)
    model = LogisticRegression(max_iter=500).fit(rows, labels)
    (hub / "onnx").mkdir()
    onnx.save(to_onnx(model, rows[:1]), hub / "onnx" / "iris.onnx")
    (hub / "pytorch_model.bin").write_bytes(b"a pickle")

    assert brought(address).metrics["test_accuracy"] > 0.9


def test_a_model_that_the_hub_does_not_have_is_named(brought, hub):
    with pytest.raises(Refused, match="the hub does not show 'acme/none'"):
        brought("hf:acme/none")


def test_a_hub_that_is_away_is_an_outage(brought, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConnectionError, match="the hub does not answer"):
        brought("hf:acme/iris")
