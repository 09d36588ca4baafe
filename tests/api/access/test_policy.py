"""What a request may not have run on the cluster."""

import pytest
from pydantic import BaseModel

from api.access.policy import refuse_what_requests_may_not
from api.cli.trainer_reference import shipped
from api.problems import Problem
from api.settings import GatewaySettings
from projects.finished_model import NAMED_MODELS
from projects.loading import CHECKOUT
from projects.schema import Project
from projects.trainers import read_trainer


def project(**placement):
    return Project.model_validate(
        {
            "project": "p",
            "owner": "team:a",
            "models": {"m": {"trainer": "training.vision:train", "placement": placement}},
        }
    )


@pytest.mark.parametrize(
    ("model", "field"),
    [
        ({"from": "/etc/model.onnx"}, "model"),
        ({"from": "model.onnx"}, "model"),
        ({"from": "s3://others/model.onnx"}, "model"),
        ({"from": "/data/../etc/model.onnx"}, "model"),
        (
            {"trainer": "training.hub:train", "hyperparameters": {"pretrained": "/etc"}},
            "pretrained",
        ),
        (
            {"trainer": "training.hub:train", "hyperparameters": {"pretrained": "./../x"}},
            "pretrained",
        ),
    ],
)
def test_a_model_in_a_place_that_is_not_allowed_is_refused(model, field):
    declared = {"project": "p", "owner": "team:a", "models": {"m": model}}

    with pytest.raises(Problem) as refused:
        refuse_what_requests_may_not(
            Project.model_validate(declared), GatewaySettings(data_roots="/data,s3://ours")
        )

    assert refused.value.errors[0].field == f"models.m.hyperparameters.{field}"


def test_code_that_a_search_would_try_is_refused_like_a_hyperparameter():
    over = {"environment": {"choice": ["CartPole-v1", "os:system"]}}
    model = {"trainer": "training.control:train", "search": {"over": over, "metric": "return"}}
    declared = {"project": "p", "owner": "team:a", "models": {"m": model}}

    with pytest.raises(Problem) as refused:
        refuse_what_requests_may_not(Project.model_validate(declared), GatewaySettings())

    assert [error.field for error in refused.value.errors] == ["models.m.search.over.environment"]


@pytest.mark.parametrize(
    "address",
    ["/data/model.onnx", "s3://ours/model.onnx", "hf:acme/iris", "mlflow:models:/given/1"],
)
def test_a_model_in_an_allowed_place_may_be_named(address):
    declared = {"project": "p", "owner": "team:a", "models": {"m": {"from": address}}}

    refuse_what_requests_may_not(
        Project.model_validate(declared), GatewaySettings(data_roots="/data,s3://ours")
    )


@pytest.mark.parametrize("image", ["evil:1", "team/trainers-evil:1", "team"])
def test_an_image_that_is_not_allowed_is_refused(image):
    gateway = GatewaySettings(images="team/trainers")

    with pytest.raises(Problem) as refused:
        refuse_what_requests_may_not(project(image=image), gateway)

    assert refused.value.errors[0].field == "models.m.placement.image"


@pytest.mark.parametrize("image", ["team/trainers/vision:2", "team/trainers:1"])
def test_an_allowed_image_may_be_named(image):
    refuse_what_requests_may_not(project(image=image), GatewaySettings(images="team/trainers"))


@pytest.mark.parametrize("variable", ["LD_PRELOAD", "PYTHONPATH", "AWS_ENDPOINT_URL", "PATH"])
def test_a_variable_that_changes_what_code_runs_is_refused(variable):
    with pytest.raises(Problem) as refused:
        refuse_what_requests_may_not(project(env_vars={variable: "x"}), GatewaySettings())

    assert refused.value.errors[0].field == "models.m.placement.env_vars"


def test_a_variable_of_how_fast_code_runs_may_be_named():
    refuse_what_requests_may_not(project(env_vars={"OMP_NUM_THREADS": "2"}), GatewaySettings())


def test_an_image_of_a_simulation_is_held_to_the_same_places():
    declared = {
        "project": "p",
        "owner": "team:a",
        "models": {"m": {"trainer": "training.vision:train"}},
        "simulations": {
            "s": {"model": "m", "suite": {"kind": "held_out"}, "placement": {"image": "evil:1"}}
        },
    }

    with pytest.raises(Problem) as refused:
        refuse_what_requests_may_not(Project.model_validate(declared), GatewaySettings())

    assert refused.value.errors[0].field == "simulations.s.placement.image"


def test_every_trainer_that_reads_a_pretrained_network_is_asked_where_it_lies():
    def fields_of(trainer: str) -> set[str]:
        declared = read_trainer(trainer, CHECKOUT / "projects" / "p.yaml").hyperparameters
        return set((declared or BaseModel).model_fields)

    readers = {name for name, _ in shipped() if "pretrained" in fields_of(name)}

    assert readers
    assert {name for name, field in NAMED_MODELS.items() if field == "pretrained"} == readers
