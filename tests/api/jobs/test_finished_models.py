"""A finished model is registered by the command line and by the API."""

import pytest
import skops.io
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from tests.waiting import until

UNDERSCORES = str.maketrans(" (", "__")
"""The bundled source names columns with letters and digits alone."""
VERSIONS = "/models/brought/classifier/versions"


@pytest.fixture(scope="module")
def forest(tmp_path_factory):
    """A file of skops with a model of the iris flowers, fitted with their names as labels."""
    rows = load_iris(as_frame=True)
    data = rows.data.rename(columns=lambda name: name.rstrip(")").translate(UNDERSCORES))
    model = RandomForestClassifier(20, random_state=0).fit(data, rows.target)
    file = tmp_path_factory.mktemp("given") / "forest.skops"
    skops.io.dump(model, file)
    return file


def test_the_command_line_registers_a_file_as_the_next_version(up, forest):
    made = up.orrery("datasets", "make", "brought", "iris", "--follow")
    assert made.returncode == 0, made.stdout + made.stderr

    done = up.orrery("models", "register", "brought", "classifier", str(forest), "--follow")

    assert done.returncode == 0, done.stdout + done.stderr
    (version,) = up.api.get(VERSIONS).json()["items"]
    assert version["version"] == 1
    job = up.api.get("/train/jobs", params={"project": "brought"}).json()["items"][0]
    assert job["made"]["test_metrics"]["test_accuracy"] > 0.9
    address = job["spec"]["hyperparameters"]["model"]
    assert address.endswith("/forest.skops")
    assert address.startswith(str(up.state / "objects" / "finished"))

    again = up.api.post(VERSIONS, json={"address": address})

    assert again.status_code == 202, again.text
    until(lambda: len(up.api.get(VERSIONS).json()["items"]) == 2)


def test_a_file_that_is_not_there_is_named_before_anything_is_asked(up):
    done = up.orrery("models", "register", "brought", "classifier", "nowhere.onnx")

    assert done.returncode == 2
    assert "there is no file" in done.stderr


def test_a_request_names_no_file_outside_of_the_allowed_places(up):
    refused = up.api.post(VERSIONS, json={"address": "/etc/passwd"})

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "hyperparameters.model"


def test_a_model_that_is_trained_takes_no_file(up):
    refused = up.api.post("/models/flowers/classifier/versions", json={"address": "hf:acme/iris"})

    assert refused.status_code == 409
    assert "flowers_training:train, expected a model that is declared with from:" in refused.text
