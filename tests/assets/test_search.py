"""A declared search as a dagster_run: one model, and every trial in MLflow."""

import json

import pytest
import yaml

from projects.schema import Model
from resources.compute.requirements import Requirements

SEARCH = {
    "over": {"x": {"uniform": [0, 1]}, "penalty": {"choice": [0, 1]}},
    "metric": "validation_loss",
    "trials": 6,
    "stop_early": False,
}
OP = "flowers__checkpoint__classifier"


@pytest.fixture
def flowers(flowers):
    """The test's project, whose model is searched for."""
    file = flowers / "flowers.yaml"
    declared = yaml.safe_load(file.read_text())
    declared["models"]["classifier"] |= {
        "trainer": "searched_training:train",
        "hyperparameters": {"epochs": 2, "x": 0.25},
        "search": SEARCH,
    }
    file.write_text(yaml.safe_dump(declared))
    return flowers


def test_a_search_makes_one_model_and_an_mlflow_run_for_each_trial(loop):
    from mlflow.tracking import MlflowClient

    result = loop.materialize("dataset", "checkpoint", "model")
    assert result.success, loop.failure_of(result)
    client = MlflowClient(loop.settings.tracking_uri)
    experiment = client.get_experiment_by_name("flowers").experiment_id
    runs = client.search_runs([experiment])
    (job,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    trials = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == job.info.run_id]
    assert len(trials) == 6
    assert {run.info.status for run in trials} == {"FINISHED"}
    assert {run.data.tags["orrery.model"] for run in trials} == {"classifier"}
    first = next(run for run in trials if run.info.run_name == "trial 0")
    # The first trial has what the model declares.
    assert first.data.params["x"] == "0.25"
    losses = client.get_metric_history(first.info.run_id, "validation_loss")
    assert [metric.step for metric in losses] == [1, 2]
    best = min(trials, key=lambda run: run.data.metrics["validation_loss"])
    curve = client.get_metric_history(job.info.run_id, "best_validation_loss")
    assert sorted(metric.step for metric in curve) == [1, 2, 3, 4, 5, 6]
    assert min(m.value for m in curve) == best.data.metrics["validation_loss"]
    assert job.data.params["x"] == best.data.params["x"]
    chosen = json.loads(job.data.tags["orrery.hyperparameters"])
    assert chosen == json.loads(best.data.tags["orrery.hyperparameters"])
    assert job.data.metrics["test_rows"] > 0
    files = {f.path for f in client.list_artifacts(job.info.run_id, "training")}
    assert {"training/trials.json", "training/search_best.png"} <= files
    made = loop.metadata("checkpoint", "classifier")
    assert made["trials"] == 6
    assert f"trial {made['best_trial']}" == best.info.run_name
    assert made["chosen"]["x"] == chosen["x"]
    assert "search_parallel" in made


def test_what_a_job_gives_is_not_searched_over_and_a_search_can_be_left_out(loop):
    config = {"hyperparameters": {"x": 0.5, "penalty": 0}}
    result = loop.materialize("dataset", "checkpoint", **{OP: config})
    assert result.success, loop.failure_of(result)
    assert "trials" not in loop.metadata("checkpoint", "classifier")
    result = loop.materialize("checkpoint", **{OP: {"searches": False}})
    assert result.success, loop.failure_of(result)
    assert "trials" not in loop.metadata("checkpoint", "classifier")


def test_a_search_that_the_trainer_cannot_have_is_refused_with_its_place(loop):
    search = {"over": {"epochs": {"choice": [1]}}, "metric": "test_accuracy"}
    result = loop.materialize("dataset", "checkpoint", **{OP: {"search": search}})
    assert not result.success
    assert "judge the model" in loop.failure_of(result)


def test_a_search_asks_for_the_resources_of_all_trials_at_once():
    declared = {
        "trainer": "training.vision:train",
        "resources": {"gpus_per_worker": 2, "memory": "4Gi"},
        "search": {**SEARCH, "at_once": 3},
    }
    wanted = Requirements.of(Model.model_validate(declared))
    assert (wanted.workers, wanted.min_workers) == (3, 3)
    assert (wanted.gpus_per_worker, wanted.memory) == (2, "4Gi")
