"""`orrery init` writes a project that `orrery turn` takes to a service."""

import json
import shlex
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.csv
import pytest
import skops.io

from api.cli.starting.command import default_of, start
from api.cli.starting.draft import CannotStart, name_of, rounded_down, rounded_up, scalar
from api.cli.turn import TurnFailed, found
from projects.loading import CHECKOUT
from resources.settings import Settings
from tests.training.tables import forest_of, wine


def made(source, name=None, label=None, data=None):
    return start(str(source), name, label, data and str(data), default_of, lambda text: None)


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


def test_a_table_goes_round_the_loop_to_a_service_that_takes_its_rows(cellar, up):
    project, _ = cellar

    ended = subprocess.run(
        [sys.executable, "-c", "from api.cli.main import main; main()", "turn", project.name],
        check=False,
        cwd=project.file.parent,
        capture_output=True,
        text=True,
        env={**up.env, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "200"},
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    command = next(line for line in ended.stdout.splitlines() if line.startswith("curl"))
    _, *asked = shlex.split(command)
    reply = subprocess.run(["curl", *asked], check=True, capture_output=True, text=True)
    answer = json.loads(reply.stdout)
    assert answer["classes"] == ["barbera", "barolo", "grignolino"]
    assert answer["predictions"][0] in answer["classes"]
    assert sum(answer["probabilities"][0]) == pytest.approx(1, abs=1e-4)
    assert len(answer["dataset_version"]) == 64
