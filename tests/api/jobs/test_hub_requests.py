"""Requests that name a model of the hub get the trainer that the model is for."""

import pytest

from tests.api.gateway import running_gateway
from tests.model_hub import serving_hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WRITER = "training.language.writer:train"


@pytest.fixture(scope="module")
def gateway(gateway_folder, flowers_folder):
    with running_gateway(gateway_folder, flowers_folder, data_roots="s3://bucket") as opened:
        yield opened


@pytest.mark.parametrize(
    ("task", "trainer"),
    [
        ("text-generation", WRITER),
        ("text-classification", "training.language.classifier:train"),
        ("image-classification", "training.hub:train"),
        (None, "training.hub:train"),
    ],
)
def test_a_model_of_the_hub_is_trained_by_what_it_is_for(gateway, tmp_path, task, trainer):
    body = {
        "model": "hf:acme/tiny",
        "dataset": "s3://bucket/data",
        "hyperparameters": {"learning_rate": 2e-5, "batch_size": 32, "epochs": 3},
    }

    with serving_hub("acme/tiny", COMMIT, tmp_path / "hub", task=task):
        accepted = gateway.admin.post("/train/jobs", json=body)

    assert accepted.status_code == 202, accepted.text
    job = gateway.admin.get(f"/train/jobs/{accepted.json()['job_id']}").json()
    assert job["spec"]["trainer"] == trainer
    declared = gateway.admin.get("/projects/adhoc").json()["declaration"]
    dataset = declared["datasets"][job["spec"]["dataset"]["name"]]
    wanted = ("completion", "text-generation") if trainer == WRITER else (None, None)
    assert (dataset.get("label"), dataset.get("task")) == wanted
