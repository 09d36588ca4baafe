"""Requests that left the training data start the next turn, once for the same bytes."""

import json

import dagster as dg
import pytest

from engine.rows import read_rows
from projects.loading import load_project
from sensors.drift import build_drift_sensors


@pytest.fixture
def serving(loop, flowers):
    """The loop with a registered version, and a way to log requests and tick the sensor."""
    file = flowers / "flowers.yaml"
    file.write_text(file.read_text() + "\nautomation: {retrain: {on: [drift]}}\n")
    loop.project = load_project(file)
    assert loop.materialize("dataset", "checkpoint", "model").success
    return loop


def log_requests(loop, shift: float) -> None:
    version = loop.adapters["datasets"].read(
        "flowers", "iris", loop.metadata("dataset", "iris")["version"]
    )
    rows = read_rows([*version.train, *version.test], version.features).to_pylist()
    folder = loop.settings.state / "requests" / "flowers.classifier-api"
    folder.mkdir(parents=True)
    entries = [
        {"at": n, "model_version": 1, "prediction": "0", "inputs": [v + shift for v in r.values()]}
        for n, r in enumerate(rows)
    ]
    (folder / "s0.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))


def sensor_of(loop):
    turn = dg.JobDefinition(name="turn_flowers", graph_def=dg.GraphDefinition("turn_flowers"))
    (sensor,) = build_drift_sensors([loop.project], {turn.name: turn})
    return sensor


def tick(loop, sensor=None):
    names = ("datasets", "tracking", "request_logs")
    context = dg.build_sensor_context(
        instance=loop.instance, resources={name: loop.adapters[name] for name in names}
    )
    return (sensor or sensor_of(loop)).evaluate_tick(context)


def test_shifted_requests_ask_for_a_turn_keyed_by_the_served_bytes(serving):
    log_requests(serving, shift=2.0)
    (request,) = tick(serving).run_requests
    digest = serving.metadata("model", "classifier")["artefact_digest"]
    assert request.run_key == f"flowers.classifier-api-{digest}"
    assert "Kolmogorov-Smirnov distance" in request.tags["orrery/drift"]


def test_requests_like_the_training_data_ask_for_nothing(serving):
    log_requests(serving, shift=0.0)
    assert "no drift in 150 requests" in tick(serving).skip_message


def test_too_few_requests_are_waited_for(serving):
    assert "0 requests logged, 100 needed" in tick(serving).skip_message


def test_nothing_is_read_again_until_a_request_comes(serving):
    log_requests(serving, shift=0.0)
    sensor = sensor_of(serving)
    assert "no drift" in tick(serving, sensor).skip_message
    assert "1 of 1 services were asked nothing since" in tick(serving, sensor).skip_message

    (log,) = (serving.settings.state / "requests" / "flowers.classifier-api").iterdir()
    with log.open("a") as file:
        file.write(log.read_text().splitlines()[-1] + "\n")
    assert "no drift in 151 requests" in tick(serving, sensor).skip_message


def test_a_turn_is_asked_for_again_until_dagster_has_it(serving):
    log_requests(serving, shift=2.0)
    sensor = sensor_of(serving)

    keys = [request.run_key for _ in range(2) for request in tick(serving, sensor).run_requests]

    assert len(keys) == 2 and len(set(keys)) == 1


def test_a_service_that_cannot_be_measured_is_told_and_tried_again(serving, monkeypatch):
    log_requests(serving, shift=0.0)
    sensor = sensor_of(serving)
    with monkeypatch.context() as gone:
        gone.setattr("sensors.drift.drift_of", lambda *_: 1 / 0)
        said = tick(serving, sensor).skip_message

    assert "flowers.classifier-api: ZeroDivisionError" in said
    assert "no drift in 150 requests" in tick(serving, sensor).skip_message
