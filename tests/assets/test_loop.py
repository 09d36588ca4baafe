import subprocess
import threading

import dagster as dg
import httpx
import numpy as np
import onnxruntime
import pytest

from definitions import definitions_of
from engine.rows import read_rows
from projects.loading import load_project

FAMILIES = ("dataset", "checkpoint", "model", "simulation", "champion", "service")


def test_one_turn_ends_with_a_service_that_answers_like_the_artefact(loop, reconciler):
    result = loop.materialize(*FAMILIES)
    assert result.success, loop.failure_of(result)
    service, champion = (
        loop.metadata("service", "classifier-api"),
        loop.metadata("champion", "classifier"),
    )
    rows = np.random.default_rng(0).uniform(0, 8, (20, 4)).astype(np.float32)
    answer = httpx.post(service["address"], json={"inputs": rows.tolist()}).json()
    session = onnxruntime.InferenceSession(f"{champion['uri']}/model.onnx")
    expected = session.run(None, {session.get_inputs()[0].name: rows})[0]
    np.testing.assert_allclose(answer["outputs"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.begins("trained")
def test_everything_made_names_what_it_was_made_of(loop):
    dataset, model = loop.metadata("dataset", "iris"), loop.metadata("model", "classifier")
    version = loop.tracking.version("flowers.classifier", model["model_version"])
    assert version.tags["orrery.dataset_version"] == dataset["version"]
    assert version.artefact_digest == loop.metadata("checkpoint", "classifier")["artefact_digest"]
    assert "/runs/" in version.tags["dagster.run"]
    for created in (dataset, model):
        assert {"uri", "bytes", "duration_s", "cost_process_s", "git_revision"} <= created.keys()


@pytest.mark.begins("trained")
def test_the_registered_model_loads_by_its_alias_and_has_a_signature(loop, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", loop.settings.tracking_uri)
    mlflow.set_tracking_uri(loop.settings.tracking_uri)
    model = mlflow.pyfunc.load_model("models:/flowers.classifier@candidate")
    inputs = model.metadata.get_input_schema().input_names()
    rows = np.zeros((3, 4), np.float32)
    (outputs,) = model.predict({inputs[0]: rows}).values()
    assert outputs.shape == (3, 3)


@pytest.mark.begins("simulated")
def test_training_is_compared_in_mlflow_by_its_parameters_metrics_and_pictures(loop):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(loop.settings.tracking_uri)
    experiment = client.get_experiment_by_name("flowers")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == "5"
    assert run.data.metrics["test_accuracy"] > 0.9
    assert any(name.startswith("nudge/robust_accuracy") for name in run.data.metrics)
    assert any(name.startswith("system/") for name in run.data.metrics)
    assert [m.step for m in client.get_metric_history(run.info.run_id, "loss")] == [1, 2, 3, 4, 5]
    files = {f.path for f in client.list_artifacts(run.info.run_id, "training")}
    assert {"training/confusion_matrix.png", "training/packages.txt"} <= files


def test_a_refused_model_reaches_neither_the_alias_nor_traffic_and_no_later_champion(loop):
    result = loop.materialize(
        *FAMILIES, flowers__checkpoint__classifier={"hyperparameters": {"wrong": True}}
    )
    assert not result.success
    assert loop.tracking.aliased("flowers.classifier", "champion") is None
    assert not (loop.settings.state / "services").exists()

    said = loop.failure_of(loop.materialize("champion"))
    assert "nudge: fail: epsilon" in said
    assert "required robust_accuracy >= 0.6" in said
    assert "[0.0" in said


@pytest.mark.begins("trained")
def test_a_model_without_evidence_is_not_promoted(loop):
    assert "nudge: no evidence for these bytes" in loop.failure_of(loop.materialize("champion"))


@pytest.mark.begins("trained")
def test_a_service_materialised_alone_asks_the_gate_itself(loop):
    # Somebody moves the alias by hand, past the gate.
    loop.tracking.point("flowers.classifier", "champion", 1)
    assert "no evidence for these bytes" in loop.failure_of(loop.materialize("service"))


@pytest.mark.begins("promoted")
def test_a_threshold_that_is_raised_counts_for_old_evidence(loop, flowers):
    file = flowers / "flowers.yaml"
    file.write_text(file.read_text().replace("at_least: 0.6", "at_least: 0.999"))
    loop.project = load_project(file)
    assert "required robust_accuracy >= 0.999" in loop.failure_of(loop.materialize("champion"))


@pytest.mark.begins("promoted")
def test_a_service_without_a_reconciler_says_what_to_start(loop):
    assert "start `orrery up`" in loop.failure_of(loop.materialize("service"))


def test_training_refuses_a_dataset_version_whose_checks_failed_in_another_dagster_run(
    loop, flowers
):
    file = flowers / "flowers.yaml"
    file.write_text(
        file.read_text().replace(
            "label: target", "label: target\n    expect: {rows: {at_least: 999}}"
        )
    )
    loop.project = load_project(file)
    assert not loop.materialize("dataset").success
    said = loop.failure_of(loop.materialize("checkpoint"))
    assert "has_enough_rows: 150 rows, expected at least 999" in said


def test_two_jobs_on_one_model_at_once_do_not_mix(loop):
    results = {}

    def turn(seed: int) -> None:
        config = {"seed": seed, "hyperparameters": {"epoch_s": 0.2}}
        results[seed] = loop.materialize(
            "checkpoint", "model", "simulation", flowers__checkpoint__classifier=config
        )

    loop.materialize("dataset")
    threads = [threading.Thread(target=turn, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(result.success for result in results.values()), [
        loop.failure_of(r) for r in results.values()
    ]
    digests = []
    for result in results.values():
        created = {
            event.asset_key.path[1]: event.step_materialization_data.materialization.metadata
            for event in result.get_asset_materialization_events()
        }
        of_run = {str(m["artefact_digest"].value) for m in created.values()}
        assert len(of_run) == 1
        digests += of_run
    assert len(set(digests)) == 2
    assert len(loop.tracking.versions("flowers.classifier")) == 2


@pytest.mark.begins("simulated")
def test_the_same_simulation_of_the_same_version_gives_the_same_results(loop):
    first = loop.metadata("simulation", "nudge")["results_digest"]
    loop.materialize("simulation")
    assert loop.metadata("simulation", "nudge")["results_digest"] == first


@pytest.mark.begins("two versions")
def test_an_earlier_version_can_be_promoted_again(loop):
    loop.materialize("champion", flowers__champion__classifier={"model_version": 1})
    loop.materialize("champion")
    assert loop.tracking.aliased("flowers.classifier", "champion").version == 2
    loop.materialize("champion", flowers__champion__classifier={"model_version": 1})
    assert loop.tracking.aliased("flowers.classifier", "champion").version == 1


@pytest.mark.begins("promoted")
def test_drift_with_nothing_new_to_learn_trains_nothing_and_succeeds(loop):
    turn = ("dataset", "checkpoint", "model", "simulation", "champion")
    again = loop.materialize(*turn, trigger="drift")
    assert again.success
    skipped = {e.step_key for e in again.all_events if e.event_type_value == "STEP_SKIPPED"}
    assert "flowers__model__classifier" in skipped
    assert len(loop.tracking.versions("flowers.classifier")) == 1


@pytest.mark.begins("trained")
@pytest.mark.parametrize("changed", ["seed", "hyperparameters", "code", "asked"])
def test_what_differs_from_the_newest_version_is_trained_also_where_drift_asks(
    loop, flowers, changed
):
    config: dict = {"seed": {"seed": 2}, "hyperparameters": {"hyperparameters": {"epochs": 2}}}
    if changed == "code":
        init = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
        for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
            subprocess.run([*init, *command], cwd=flowers, check=True)
    loop.materialize(
        "checkpoint",
        "model",
        trigger=None if changed == "asked" else "drift",
        flowers__checkpoint__classifier=config.get(changed, {}),
    )
    assert len(loop.tracking.versions("flowers.classifier")) == 2


SCORED = "datasets:\n  scored: {from: [iris], predict: classifier}\n"


def declare_scored(loop, flowers, scored=SCORED):
    file = flowers / "flowers.yaml"
    file.write_text(file.read_text().replace("datasets:\n", scored, 1))
    loop.project = load_project(file)


@pytest.mark.begins("promoted")
def test_the_champion_predicts_for_a_dataset_once(loop, flowers):
    declare_scored(loop, flowers)
    made = loop.materialize("dataset")
    assert made.success, loop.failure_of(made)

    first = loop.metadata("dataset", "scored")
    version = loop.adapters["datasets"].read("flowers", "scored", first["version"])
    table = read_rows([*version.train, *version.test])
    right = sum(
        row["prediction"] == str(row["target"]) and row["probability"] > 0.3
        for row in table.to_pylist()
    )
    assert len(table) == 150
    assert right > 130
    assert set(table["model_version"].to_pylist()) == {1}
    assert "model_version" not in version.features

    again = loop.materialize("dataset")
    messages = [entry.user_message for entry in loop.instance.all_logs(again.run_id)]
    assert any("not made again" in message for message in messages)
    assert loop.metadata("dataset", "scored")["version"] == first["version"]


@pytest.mark.begins("trained")
def test_without_a_champion_nothing_is_predicted_and_training_waits_for_none(loop, flowers):
    declare_scored(loop, flowers)

    assert "flowers.classifier has no champion" in loop.failure_of(loop.materialize("dataset"))

    resources = dg.Definitions(resources=loop.adapters)
    whole = dg.Definitions.merge(definitions_of(loop.project), resources).get_repository_def()
    layers = {unit: whole.get_job(f"{unit}_flowers").asset_layer for unit in ("train", "turn")}
    keys = {
        unit: {key.path[-1] for key in each.selected_asset_keys} for unit, each in layers.items()
    }
    assert "scored" not in keys["train"]
    assert {"iris", "scored"} < keys["turn"]


@pytest.mark.begins("promoted")
def test_rows_that_the_champion_cannot_take_are_named(loop, flowers):
    narrow = "datasets:\n  narrow: {from: [iris], sql: SELECT target FROM iris}\n"
    declare_scored(
        loop, flowers, narrow + SCORED.replace("datasets:\n", "").replace("iris", "narrow")
    )

    failure = loop.failure_of(loop.materialize("dataset"))

    assert "the model takes the column" in failure
    assert "expected it among those of the dataset: target" in failure
