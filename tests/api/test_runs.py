"""Runs of one's own: begun, tagged, given files, ended and deleted by the API alone."""

import base64

import pytest

from resources.tracking.adapter import JOB_TAG
from tests.waiting import until


@pytest.fixture
def run(gateway):
    created = gateway.admin.get("/experiments", params={"project": "flowers"}).json()["items"]
    experiment = next((e["id"] for e in created if e["name"].endswith("own")), None)
    if experiment is None:
        body = {"project": "flowers", "name": "own"}
        experiment = gateway.admin.post("/experiments", json=body).raise_for_status().json()["id"]
    body = {"name": "notebook", "parameters": {"lr": "2e-5"}}
    return gateway.admin.post(f"/experiments/{experiment}/runs", json=body).json()


def changed(gateway, run, **body):
    return gateway.admin.patch(f"/runs/{run['id']}", json=body).raise_for_status().json()


def test_a_run_is_tagged_renamed_and_ended(gateway, run):
    result = changed(gateway, run, tags={"stage": "try", "author": "ada"}, name="second")
    assert (result["name"], result["status"], result["ended_at"]) == ("second", "RUNNING", None)
    assert result["tags"] == {"stage": "try", "author": "ada"}
    ended = changed(gateway, run, status="FINISHED", tags={"stage": None, "never": None})
    assert (ended["status"], ended["tags"]) == ("FINISHED", {"author": "ada"})
    assert ended["ended_at"]
    assert gateway.admin.get(f"/runs/{run['id']}").json() == ended
    assert changed(gateway, run, status="FAILED")["status"] == "FAILED"


def test_a_run_keeps_files_as_text_and_as_bytes(gateway, run):
    path, data = f"/runs/{run['id']}/files", bytes(range(256))
    text = {"path": "notes/read me.md", "text": "# Größe"}
    raw = {"path": "weights.bin", "base64": base64.b64encode(data).decode()}
    for body in (text, raw):
        assert gateway.admin.post(path, json=body).status_code == 201
    files = {f["path"]: f["bytes"] for f in gateway.admin.get(path).json()["files"]}
    assert files == {"notes/read me.md": len("# Größe".encode()), "weights.bin": 256}
    (kept,) = gateway.platform.settings.state.rglob("weights.bin")
    assert kept.read_bytes() == data
    given = gateway.admin.get(f"/runs/{run['id']}/file", params={"path": "weights.bin"}).json()
    assert (base64.b64decode(given["base64"]), given["bytes"]) == (data, 256)


@pytest.mark.parametrize(
    ("path", "status"), [("none.txt", 404), ("notes", 404), ("../a", 422), ("notes/../../b", 422)]
)
def test_a_file_that_a_run_does_not_keep_is_not_given(gateway, run, path, status):
    body = {"path": "notes/a.txt", "text": "x"}
    assert gateway.admin.post(f"/runs/{run['id']}/files", json=body).status_code == 201
    answer = gateway.admin.get(f"/runs/{run['id']}/file", params={"path": path})
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "body",
    [
        {"path": "a"},
        {"path": "a", "text": "x", "base64": "eA=="},
        {"path": "../a", "text": "x"},
        {"path": "a/../../b", "text": "x"},
        {"path": "/etc/passwd", "text": "x"},
        {"path": "a", "base64": "no base64!"},
    ],
)
def test_a_file_that_cannot_be_kept_is_refused_and_leaves_nothing(gateway, run, body):
    assert gateway.admin.post(f"/runs/{run['id']}/files", json=body).status_code == 422
    assert gateway.admin.get(f"/runs/{run['id']}/files").json()["files"] == []


def test_a_deleted_run_is_gone(gateway, run):
    assert gateway.admin.delete(f"/runs/{run['id']}").status_code == 200
    assert gateway.admin.get(f"/runs/{run['id']}").status_code == 404
    assert gateway.admin.delete(f"/runs/{run['id']}").status_code == 404
    listed = gateway.admin.get(f"/experiments/{run['experiment_id']}/runs").json()["items"]
    assert run["id"] not in [r["id"] for r in listed]


def test_a_run_of_a_job_is_not_changed_by_hand(gateway, run):
    gateway.platform.experiments.change(run["id"], status=None, name=None, tags={JOB_TAG: "job"})
    for answer in (
        gateway.admin.patch(f"/runs/{run['id']}", json={"status": "KILLED"}),
        gateway.admin.delete(f"/runs/{run['id']}"),
        gateway.admin.post(f"/runs/{run['id']}/files", json={"path": "a", "text": "x"}),
    ):
        assert answer.status_code == 409
        assert "belongs to a job" in answer.json()["detail"]


def test_a_run_that_made_a_model_version_is_kept(gateway, run):
    client = gateway.platform.experiments._client
    client.create_registered_model("flowers.kept")
    client.create_model_version("flowers.kept", "runs:/x", run_id=run["id"])
    refused = gateway.admin.delete(f"/runs/{run['id']}")
    assert refused.status_code == 409
    assert "flowers.kept version 1" in refused.json()["detail"]


def test_whoever_may_only_look_changes_no_run(gateway, run):
    viewer = gateway.with_role("viewer")
    assert viewer.get(f"/runs/{run['id']}").status_code == 200
    assert viewer.patch(f"/runs/{run['id']}", json={"status": "KILLED"}).status_code == 403
    assert gateway.with_role("user").delete(f"/runs/{run['id']}").status_code == 403


def test_an_ended_job_is_deleted_and_still_counts_in_its_budget(gateway):
    client = gateway.with_role("user", budget_gpu_h=10.0)
    body = {"model": "classifier", "max_seconds": 60}
    taken = client.post("/train/jobs", json=body).raise_for_status().json()
    path = f"/jobs/{taken['job_id']}"
    client.delete(path).raise_for_status()
    until(lambda: client.get(path).json()["status"] == "stopped")
    deleted = client.delete(path)
    assert deleted.json()["message"].startswith("deleted; ")
    assert client.get(path).status_code == 404
    assert client.delete(path).status_code == 404
    listed = client.get("/jobs", params={"limit": 200}).json()["items"]
    assert taken["job_id"] not in [job["job_id"] for job in listed]
    entry = gateway.admin.get("/audit", params={"object": f"job/{taken['job_id']}"}).json()["items"]
    assert [e["action"] for e in entry] == ["jobs.stop", "jobs.stop", "train.submit"]


@pytest.mark.parametrize("callback", ["http://127.0.0.1:9/x", "https://[::1]/", "http://10.0.0.1/"])
def test_a_callback_to_a_private_address_is_refused_when_it_is_given(gateway, callback):
    refused = gateway.admin.post("/train/jobs", json={"model": "classifier", "callback": callback})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error["field"] == "callback" and "no public address" in error["message"]


@pytest.mark.parametrize(
    ("suite", "field"),
    [
        ({"kind": "linf_attack", "low": 0, "high": 1, "epsilons": [7]}, "suite.epsilons.0"),
        ({"kind": "linf_attack", "low": 0, "epsilons": [0.1]}, "suite.high"),
        ({"kind": "nothing"}, "suite"),
        (
            {"kind": "linf_attack", "low": 0, "high": 1, "epsilons": [], "epsilon": 1},
            "suite.epsilon",
        ),
    ],
)
def test_a_mistake_is_named_by_its_place_in_the_request(gateway, suite, field):
    body = {"project": "flowers", "name": "n", "model": "classifier", "suite": suite}
    refused = gateway.admin.post("/simulation/environments", json=body)
    assert [e["field"] for e in refused.json()["errors"]] == [field], refused.text
    tool = {"tool": "simulate.create", "params": body}
    refused = gateway.admin.post("/agent/execute", json=tool)
    assert [e["field"] for e in refused.json()["errors"]] == [field], refused.text
