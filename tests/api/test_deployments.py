"""Deployments, stops and predictions through the gateway of a real `orrery up`."""

import json
import os
import signal
from typing import NamedTuple

import httpx
import pytest

from serving.contract import MOST_ROWS
from tests.waiting import until

ENDED = ("succeeded", "failed", "stopped")
SERVICE = "/inference/services/lasting.classifier-api"
ROW = [5.1, 3.5, 1.4, 0.2]


def ended(up, taken) -> dict:
    assert taken.status_code == 202, taken.text
    path = f"/jobs/{taken.json()['job_id']}"
    return until(lambda: result if (result := up.api.get(path).json())["status"] in ENDED else None)


def deploy(up, version):
    body = {"project": "lasting", "name": "classifier-api", "model_version": version}
    return up.api.post("/inference/services", json=body)


def service(up) -> dict:
    return up.api.get(SERVICE).json()


def shares(up) -> dict[int, int]:
    return {a["model_version"]: a["percent"] for a in service(up)["answering"]}


class Refused(NamedTuple):
    """The answer to a deployment without evidence, and which versions might serve then."""

    answer: httpx.Response
    may_serve: dict[int, bool]


def succeeded(up, *taken) -> None:
    assert {ended(up, each)["status"] for each in taken} == {"succeeded"}


def simulate(up, version):
    path = "/simulation/environments/lasting.nudge"
    return up.api.post(path, json={"model_version": version})


@pytest.fixture(scope="module")
def refused(up) -> Refused:
    """Made while the first of two versions has passed and nobody has simulated the second."""
    body = {"model": "lasting/classifier"}
    succeeded(up, *(up.api.post("/train/jobs", json={**body, "seed": seed}) for seed in (1, 2)))
    succeeded(up, simulate(up, 1))
    path = "/models/lasting/classifier/versions/{}/evidence"
    may_serve = {v: up.api.get(path.format(v)).json()["may_serve"] for v in (1, 2)}
    return Refused(deploy(up, 2), may_serve)


@pytest.fixture(scope="module")
def served(up, refused):
    """An instance with two versions that passed, the first of which serves."""
    succeeded(up, simulate(up, 2), deploy(up, 1))
    return up


def test_what_serves_is_reported_apart_from_what_may_serve(served):
    result = service(served)
    (answering,) = result["answering"]
    assert (result["state"], result["model_version"], result["target"]) == (
        "serving",
        1,
        answering["version"],
    )
    assert (answering["model_version"], answering["percent"]) == (1, 100)
    version = served.api.get("/models/lasting/classifier/versions").json()["items"][-1]
    assert answering["artefact_digest"] == version["artefact_digest"]


def test_a_stopped_deployment_returns_all_traffic_and_says_so(served):
    taken = deploy(served, 2)
    until(lambda: shares(served) == {1: 90, 2: 10})

    stopped = served.api.delete(f"/jobs/{taken.json()['job_id']}")

    assert stopped.status_code == 202
    assert ended(served, taken)["status"] == "stopped"
    until(lambda: shares(served) == {1: 100})
    result = service(served)
    assert result["state"] == "rolled_back"
    assert result["message"] == (
        f"the deployment of {result['target']} was stopped; "
        f"version {result['serving']} has all traffic"
    )
    answers = [served.api.post(f"{SERVICE}/predict", json={"inputs": [ROW]}) for _ in range(40)]
    assert {answer.json()["model_version"] for answer in answers} == {1}


def test_a_deployment_whose_driver_was_killed_is_stopped_too(served):
    taken = deploy(served, 2)
    until(lambda: shares(served) == {1: 90, 2: 10})
    (run,) = served.runs(tags=[{"key": "orrery/job", "value": taken.json()["job_id"]}])
    worker = {tag["key"]: tag["value"] for tag in run["tags"]}["orrery/worker"]
    os.kill(int(worker.split(":")[1]), signal.SIGKILL)

    assert served.api.delete(f"/jobs/{taken.json()['job_id']}").status_code == 202

    assert ended(served, taken)["status"] == "stopped"
    until(lambda: shares(served) == {1: 100})
    assert "was stopped" in service(served)["message"]


def test_a_version_without_evidence_is_refused_with_the_simulation_that_lacks_it(refused):
    assert refused.answer.status_code == 409
    (error,) = refused.answer.json()["errors"]
    assert error["field"] == "evidence.nudge"
    assert "no evidence for these bytes" in error["message"]
    assert refused.may_serve == {1: True, 2: False}


def by_router(up, content):
    return httpx.post(f"{up.router}/lasting.classifier-api/predict", content=content, timeout=30)


def by_gateway(up, content):
    headers = {"Content-Type": "application/json"}
    return up.api.post(f"{SERVICE}/predict", content=content, headers=headers)


FEATURES = [f"{part}_{side}__cm" for part in ("sepal", "petal") for side in ("length", "width")]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"inputs": [ROW, ROW]}),
        json.dumps({"rows": [dict(zip(FEATURES, ROW, strict=True))]}),
        json.dumps({"inputs": [ROW], "rows": None}),
    ],
)
def test_predictions_are_the_same_at_the_router_and_at_the_gateway(served, content):
    router, gateway = by_router(served, content), by_gateway(served, content)
    assert (router.status_code, gateway.status_code) == (200, 200)
    # Every request has an identity of its own.
    assert gateway.json() | {"request_id": ""} == router.json() | {"request_id": ""}
    assert gateway.json()["predictions"][0] == "0"


@pytest.mark.parametrize(
    ("content", "router_status", "gateway_status", "field"),
    [
        (b"no json", 400, 400, None),
        (b"[" * 100_000, 400, 400, None),
        (b"{}", 400, 422, None),
        (b'{"inputs": [[1, 2, 3, "4.0"]]}', 400, 422, "inputs.0.3"),
        (b'{"inputs": [[1, 2, 3, NaN]]}', 400, 422, "inputs.0.3"),
        (b'{"inputs": [[1, 2, 3, true]]}', 400, 422, "inputs.0.3"),
        (b'{"inputs": [[1, 2, 3, null]]}', 400, 422, "inputs.0.3"),
        (b'{"inputs": [[1, 2, 3, 1e39]]}', 400, 422, "inputs.0.3"),
        (b'{"inputs": [[1, 2, 3]]}', 400, 422, "inputs.0"),
        (b'{"rows": [{"petal": 1}]}', 400, 422, f"rows.0.{FEATURES[0]}"),
        (b'{"inputs": [[3e38, -3e38, 3e38, -3e38]]}', 422, 422, None),
        (json.dumps({"inputs": [ROW] * (MOST_ROWS + 1)}).encode(), 413, 413, None),
    ],
)
def test_what_the_router_refuses_the_gateway_refuses_with_the_same_sentence(
    served, content, router_status, gateway_status, field
):
    router, gateway = by_router(served, content), by_gateway(served, content)
    assert (router.status_code, gateway.status_code) == (router_status, gateway_status)
    assert gateway.json()["detail"] == router.json()["error"]
    assert [error["field"] for error in gateway.json()["errors"]] == ([field] if field else [])


def test_a_large_request_is_taken_at_the_gateway_as_at_the_router(served):
    content = json.dumps({"inputs": [[5.123456789] * 4] * 40_000})
    assert len(content) > 2_000_000
    assert by_gateway(served, content).status_code == 200
    assert by_router(served, content).status_code == 200


def test_an_agent_predicts_by_feature_name_and_is_refused_in_the_same_words(served):
    def execute(**params):
        body = {"tool": "services.predict", "params": {"id": "lasting.classifier-api", **params}}
        return served.api.post("/agent/execute", json=body)

    row = dict(zip(FEATURES, ROW, strict=True))
    # A replica that was busy with the large request of another test is not ready for a moment.
    answer = until(lambda: (found := execute(rows=[row])).status_code == 200 and found)
    assert answer.json()["result"]["predictions"] == ["0"]
    refused = execute(inputs=[[1, 2, 3, "4.0"]])
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "inputs.0.3"


def test_the_document_states_what_a_prediction_takes(served):
    document = served.api.get("/openapi.json").json()
    operation = document["paths"]["/inference/services/{id}/predict"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    taken = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    assert set(taken["properties"]) == {"inputs", "rows"}
    assert taken["properties"]["inputs"]["anyOf"][0]["maxItems"] == MOST_ROWS
    assert "exactly one of" in taken["description"]


def test_a_prediction_needs_the_right_and_a_service_that_is_there(served):
    anonymous = httpx.post(f"{served.url}{SERVICE}/predict", json={"inputs": [ROW]})
    assert anonymous.status_code == 401
    unknown = served.api.post("/inference/services/lasting.nobody/predict", json={"inputs": [ROW]})
    assert unknown.status_code == 404
    odd = served.api.post("/inference/services/..x/predict", json={"inputs": [ROW]})
    assert odd.status_code in (404, 422)


def test_undeploying_stops_the_deployment_under_way_and_is_audited_before_and_after(served):
    taken = deploy(served, 2)
    until(lambda: shares(served) == {1: 90, 2: 10})

    assert served.api.delete(SERVICE).status_code == 200

    assert ended(served, taken)["status"] in ("stopped", "failed")
    until(lambda: service(served)["state"] == "absent")
    params = {"action": "services.undeploy", "object": "service/lasting.classifier-api"}
    outcome, intent = served.api.get("/audit", params=params).json()["items"][:2]
    assert intent["after"] == {"requested": "undeploy"}
    assert outcome["after"] == {"undeployed": True}
    gone = served.api.post(f"{SERVICE}/predict", json={"inputs": [ROW]})
    until(lambda: served.api.post(f"{SERVICE}/predict", json={"inputs": [ROW]}).status_code == 503)
    assert gone.status_code in (200, 503)
