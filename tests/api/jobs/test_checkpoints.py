"""Checkpoints of a model are listed, gone on from and deleted, and who needs one is told."""

import pytest

from tests.waiting import until

MODEL = "reached/classifier"
LIST = "/models/reached/classifier/checkpoints"
SLOW = {"epochs": 1_000, "epoch_s": 0.2}


@pytest.fixture(scope="module")
def stopped(up):
    """The checkpoint of a training that was stopped after some epochs."""
    job = up.api.post("/train/jobs", json={"model": MODEL, "hyperparameters": SLOW}).json()
    path = f"/train/jobs/{job['job_id']}"
    until(lambda: (up.api.get(path).json().get("progress") or {}).get("done", 0) >= 2)
    up.api.delete(path).raise_for_status()
    until(lambda: up.api.get(path).json()["status"] == "stopped")
    (found,) = until(lambda: listed(up, state="stopped"))
    return found


@pytest.fixture(scope="module")
def continued(up, stopped):
    """The job that went on from it."""
    body = {"hyperparameters": {"epochs": stopped["reached"] + 2}}
    return train(up, from_checkpoint=stopped["checkpoint"][:12], **body)


def listed(up, **query):
    return up.api.get(LIST, params=query).raise_for_status().json()["items"]


def train(up, **fields):
    taken = up.api.post("/train/jobs", json={"model": MODEL, **fields})
    assert taken.status_code == 202, taken.text
    path = f"/train/jobs/{taken.json()['job_id']}"
    return until(lambda: ended(up.api.get(path).json()))


def ended(job):
    return job if job["status"] in ("succeeded", "failed", "stopped") else None


def test_a_stopped_training_is_gone_on_from_with_another_number_of_epochs(up, stopped, continued):
    assert continued["status"] == "succeeded", continued
    assert continued["spec"]["from_checkpoint"] == stopped["checkpoint"]
    curve = up.api.get(f"/train/jobs/{continued['job_id']}/metrics").json()["metrics"]["loss"]
    first = stopped["reached"] + 1
    assert [point["step"] for point in curve] == [first, first + 1]
    newest = listed(up)[0]
    assert newest["reached"] == first + 1
    assert newest["metrics"]["test_accuracy"] > 0.8
    assert newest["workers"] == 1


def test_a_checkpoint_that_is_needed_is_not_deleted_and_who_needs_it_is_told(up, continued):
    digest = listed(up)[0]["checkpoint"]
    shown = up.api.get(f"{LIST}/{digest}").json()
    assert shown["is_kept"] and len(shown["needed_by"]) == 2
    refused = up.api.delete(f"{LIST}/{digest[:10]}")
    assert refused.status_code == 409
    assert "it is the newest of the model" in refused.json()["detail"]
    assert "model version 1 came from it" in refused.json()["detail"]


def test_a_checkpoint_that_nobody_needs_is_deleted_and_not_gone_on_from(up, stopped, continued):
    path = f"{LIST}/{stopped['checkpoint']}"
    assert up.api.get(path).json()["needed_by"] == []

    assert up.api.delete(path).status_code == 200

    assert not up.api.get(path).json()["is_kept"]
    body = {"model": MODEL, "from_checkpoint": stopped["checkpoint"]}
    refused = up.api.post("/train/jobs", json=body)
    assert refused.status_code == 422
    assert "are not kept any more" in refused.text
    audited = up.api.get("/audit", params={"action": "checkpoints.delete"}).json()["items"]
    assert stopped["checkpoint"] in str(audited)


def test_an_unknown_checkpoint_is_told_as_one(up):
    body = {"model": MODEL, "from_checkpoint": "0" * 12}
    assert up.api.post("/train/jobs", json=body).status_code == 404
    assert up.api.get(f"{LIST}/{'0' * 12}").status_code == 404
    assert up.api.delete(f"{LIST}/{'0' * 12}").status_code == 404


def test_a_search_goes_on_from_no_checkpoint(up, continued):
    search = {"over": {"epochs": {"integer": [1, 9]}}, "metric": "loss", "trials": 2}
    digest = listed(up)[0]["checkpoint"]
    body = {"model": MODEL, "from_checkpoint": digest, "search": search}
    refused = up.api.post("/train/jobs", json=body)
    assert refused.status_code == 422
    assert "begin afresh" in refused.text
