"""`orrery init` writes a project that fits; the tutorials take such projects to a service."""

import json
import shutil

import onnx
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import skops.io
from onnx import TensorProto, helper

from api.cli.starting.command import default_of, start
from api.cli.starting.draft import CannotStart, name_of, rounded_down, rounded_up, scalar
from api.cli.turn import TurnFailed, found
from resources.datasets.sources import Sources
from resources.datasets.store import DatasetStore
from resources.settings import Settings
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import RequestLogs
from tests.training.tables import forest_of, wine


def made(source, name=None, label=None, data=None, environment=None):
    data = data and str(data)
    return start(str(source), name, label, data, environment, default_of, lambda text: None)


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    """A table as people have it."""
    file = tmp_path_factory.mktemp("cellar") / "My wine.csv"
    table = wine(300).drop_columns(["price"])
    numbered = table.append_column("bottle", pa.array([f"b{i}" for i in range(300)]))
    pyarrow.csv.write_csv(numbered, file)
    return file


@pytest.fixture(scope="module")
def cellar(csv):
    """The project of the table, and what was seen."""
    return made(csv, label="grape")


def test_a_table_becomes_a_project_that_fits_it(csv, cellar):
    project, draft = cellar

    declared = project.declaration
    assert project.file == csv.parent / "my-wine.yaml"
    assert declared.datasets["rows"].read.drop == ["bottle"]
    assert declared.datasets["rows"].task == "classification"
    assert set(declared.datasets["rows"].expect.columns) == {"sugar (g/l)", "region"}
    assert project.suites["hard-rows"].slices == ["region", "organic"]
    bound = declared.simulations["hard-rows"].gate["accuracy"].at_least
    assert 0.4 < bound < 1
    assert "the baseline has 0." in project.file.read_text()
    assert any("left out, because every value is another: bottle" in s for s in draft.seen)


def test_an_environment_becomes_a_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    project, draft = made("Pendulum-v1")

    gate = project.declaration.simulations["episodes"].gate["return"]
    assert gate.at_least < -100
    assert any(sentence.startswith("random actions reach") for sentence in draft.seen)


def test_a_folder_of_images_becomes_a_project(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    for name in ("owl", "wren"):
        (tmp_path / "birds" / name).mkdir(parents=True)
        for i in range(3):
            Image.new("L", (30, 28), 80 * i).save(tmp_path / "birds" / name / f"{i}.png")

    project, _ = made("birds")

    assert project.declaration.datasets["pictures"].image.height == 28
    assert project.suites["weathering"].image.width == 28


@pytest.mark.parametrize(
    ("row", "read", "label"),
    [
        ({"prompt": "p", "completion": "c"}, "prompt", "completion"),
        (
            {
                "messages": [
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": "a"},
                ]
            },
            "messages",
            "messages.answer",
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_texts_become_a_project_of_a_model_that_writes_them(tmp_path, row, read, label, suffix):
    file = tmp_path / f"talks.{suffix}"
    if suffix == "parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist([row] * 30), file)
    else:
        file.write_text(f"{json.dumps(row)}\n" * 30)

    project, _ = made(file)

    dataset = project.declaration.datasets["texts"]
    assert (dataset.label, dataset.features, dataset.task) == (label, [read], "text-generation")
    trainer = project.declaration.models["model"].trainer
    assert trainer == "training.language.writer:train"
    objects = ObjectStore(str(tmp_path / "objects"), tmp_path / "cache")
    rows = Sources(objects, RequestLogs(tmp_path, objects)).read("p", dataset, tmp_path)
    version = DatasetStore(objects).write("p", "texts", dataset, rows)
    assert [column.kind for column in version.columns] == ["text"]


def test_a_model_becomes_a_project_that_a_table_proves(csv, tmp_path):
    shutil.copy(csv, tmp_path / "wine.csv")
    known = pyarrow.csv.read_csv(csv).to_pandas()
    skops.io.dump(
        forest_of(known, "grape", drop=["bottle", "bottled", "note"]), tmp_path / "f.skops"
    )

    project, draft = made(tmp_path / "f.skops", label="grape", data=tmp_path / "wine.csv")

    model = project.declaration.models["model"]
    assert project.file == tmp_path / "f.yaml"
    assert model.from_ == "f.skops"
    assert project.declaration.datasets["rows"].source == "files:wine.csv"
    assert 0.4 < project.declaration.simulations["hard-rows"].gate["accuracy"].at_least < 1
    assert any(sentence.startswith("accuracy of the model") for sentence in draft.seen)


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """A policy of four observations, which gives as much."""
    shape = ["rows", 4]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["observed"], ["scores"])],
        "policy",
        [helper.make_tensor_value_info("observed", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file = tmp_path_factory.mktemp("policy") / "policy.onnx"
    onnx.save(model, file)
    return file


def test_a_policy_that_does_not_fit_its_environment_is_refused_by_a_trial(policy):
    with pytest.raises(CannotStart, match=r"the policy does not fit the environment: .* 2 scores"):
        made(policy, environment="CartPole-v1")

    assert not list(policy.parent.glob("*.yaml"))


@pytest.mark.parametrize(
    ("source", "environment", "data", "says"),
    [
        ("policy.onnx", "CartPole-v99", None, "expected the id of one that Gymnasium knows"),
        ("policy.onnx", "CartPole-v1", "rows.csv", "expected one of them to prove the model"),
        ("forest.skops", "CartPole-v1", None, r"expected an ONNX file \(\.onnx\)"),
        ("CartPole-v1", "CartPole-v1", None, "or the environment's id alone to train one"),
    ],
)
def test_what_cannot_be_a_policy_is_refused_before_a_trial(
    source, environment, data, says, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.onnx").write_bytes(b"")
    (tmp_path / "forest.skops").write_bytes(b"")

    with pytest.raises(CannotStart, match=says):
        made(source, data=data, environment=environment)


def test_a_model_without_rows_to_prove_it_is_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"")

    with pytest.raises(CannotStart, match="expected a file: --data FILE"):
        made(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("write", "source", "label", "says"),
    [
        (None, "nothing.txt", None, "expected a table"),
        (None, "CartPole-v99", None, "expected a table"),
        ("a,b\n1,2\n", "t.csv", None, "1 rows, expected at least 20"),
        ("a\n" + "1\n" * 30, "t.csv", None, "one column"),
        ("a,b\n" + "1,2\n" * 30, "t.csv", "c", "no column 'c'"),
        ('"a\n', "t.csv", None, "t.csv"),
    ],
)
def test_what_cannot_be_a_project_is_refused_and_leaves_no_file(
    write, source, label, says, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    if write:
        (tmp_path / source).write_text(write)

    with pytest.raises(CannotStart, match=says):
        made(source, label=label)

    assert not list(tmp_path.glob("*.yaml"))


def test_a_project_that_is_there_is_not_written_over(csv):
    (csv.parent / "mine.yaml").write_text("mine")

    with pytest.raises(CannotStart, match="exists; choose another name"):
        made(csv, name="mine")

    assert (csv.parent / "mine.yaml").read_text() == "mine"


def test_names_scalars_and_bounds_are_written_as_yaml_reads_them():
    assert [name_of(s) for s in ("My wine.csv", "9.csv", "ALE/Pong-v5")] == [
        "my-wine",
        "project-9",
        "pong-v5",
    ]
    assert [scalar(v) for v in ("a b", "yes", "path/x.csv", 0.5)] == [
        '"a b"',
        '"yes"',
        "path/x.csv",
        "0.5",
    ]
    assert (rounded_down(0.789), rounded_up(0.781)) == (0.78, 0.79)
    assert (rounded_down(-0.781), rounded_up(54.2, 0)) == (-0.79, 55)


def test_a_project_that_is_nowhere_is_named_with_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(TurnFailed, match="did you mean 'digits'"):
        found("digit", Settings())


def test_json_of_a_model_is_told_from_json_of_a_table(tmp_path):
    (tmp_path / "trees.json").write_text('{"learner":{"attributes":{}}}')
    (tmp_path / "rows.json").write_text('[{"learner": 1}]')

    with pytest.raises(CannotStart, match="as the table whose rows prove the model"):
        made(tmp_path / "trees.json")
    with pytest.raises(CannotStart, match="1 rows, expected at least 20"):
        made(tmp_path / "rows.json")
