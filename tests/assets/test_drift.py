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


def tick(loop, cursor=None):
    (sensor,) = build_drift_sensors(loop.project)
    names = ("datasets", "tracking", "request_logs")
    context = dg.build_sensor_context(
        instance=loop.instance,
        resources={name: loop.adapters[name] for name in names},
        cursor=cursor,
    )
    result = sensor(context)
    loop.cursor = context.cursor
    return result


def test_shifted_requests_ask_for_a_turn_keyed_by_the_served_bytes(serving):
    log_requests(serving, shift=2.0)
    request = tick(serving)
    digest = serving.metadata("model", "classifier")["artefact_digest"]
    assert request.run_key == f"classifier-api-{digest}"
    assert "Kolmogorov-Smirnov distance" in request.tags["orrery/drift"]


def test_requests_like_the_training_data_ask_for_nothing(serving):
    log_requests(serving, shift=0.0)
    assert "no drift in 150 requests" in tick(serving).skip_message


def test_too_few_requests_are_waited_for(serving):
    assert "0 requests logged, 100 needed" in tick(serving).skip_message


def test_nothing_is_read_again_until_a_request_comes(serving):
    log_requests(serving, shift=0.0)
    assert "no drift" in tick(serving).skip_message
    assert "no request was logged since" in tick(serving, serving.cursor).skip_message

    (log,) = (serving.settings.state / "requests" / "flowers.classifier-api").iterdir()
    with log.open("a") as file:
        file.write(log.read_text().splitlines()[-1] + "\n")
    assert "no drift in 151 requests" in tick(serving, serving.cursor).skip_message
