"""A past job is submitted again with the values it had, or with some of them changed."""

import json

import pytest

from tests.waiting import until

ENDED = ("succeeded", "failed", "stopped")
DECLARED = {
    "project": "turning",
    "owner": "team:a",
    "datasets": {"digits": {"source": "sklearn:digits", "label": "target"}},
    "models": {
        "reader": {
            "dataset": "digits",
            "trainer": "training.vision:train",
            "hyperparameters": {"epochs": 3, "learning_rate": 1e-3, "batch_size": 64},
        }
    },
}


def submitted(client, **fields) -> dict:
    answer = client.post("/train/jobs", json={"model": "flowers/classifier", **fields})
    assert answer.status_code == 202, answer.text
    return answer.json()


def resubmitted(client, job_id, changes=None, headers=None) -> dict:
    body = {} if changes is None else {"set": changes}
    answer = client.post(f"/jobs/{job_id}/resubmit", json=body, headers=headers or {})
    assert answer.status_code == 202, answer.text
    return answer.json()


def refused(client, job_id, changes) -> dict:
    answer = client.post(f"/jobs/{job_id}/resubmit", json={"set": changes})
    assert answer.status_code >= 400, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def past(gateway) -> dict:
    """A job that was asked with values of its own."""
    return submitted(
        gateway.admin,
        hyperparameters={"epochs": 7, "nested": {"a": 1}},
        seed=5,
        resources={"cpus_per_worker": 2},
        max_seconds=900,
    )


def test_a_job_submitted_again_has_the_values_it_had_and_names_the_first(gateway, past):
    again = resubmitted(gateway.admin, past["job_id"])
    assert again["job_id"] != past["job_id"]
    assert again["spec"].pop("resubmitted_from") == past["job_id"]
    assert again["spec"] == past["spec"]


def test_changes_change_what_they_name_and_nothing_else(gateway, past):
    changes = {"hyperparameters.epochs": 2, "seed": 6, "resources": {"memory": "1Gi"}}
    spec = resubmitted(gateway.admin, past["job_id"], changes)["spec"]
    assert spec["hyperparameters"] == {"epochs": 2, "nested": {"a": 1}}
    assert spec["seed"] == 6
    assert (spec["resources"]["memory"], spec["resources"]["cpus_per_worker"]) == ("1Gi", 2)
    assert spec["max_seconds"] == 900


def test_a_job_that_makes_a_dataset_is_submitted_again(gateway):
    made = gateway.admin.post("/datasets/flowers/iris/versions", json={"max_seconds": 60}).json()
    again = resubmitted(gateway.admin, made["job_id"], {"max_seconds": 90})
    assert (again["kind"], again["name"], again["spec"]["max_seconds"]) == ("make", "iris", 90)
    told = refused(gateway.admin, made["job_id"], {"seed": 1})
    assert [error["field"] for error in told["errors"]] == ["set.seed"]


def test_null_leaves_the_choice_to_the_platform(gateway, past):
    spec = resubmitted(gateway.admin, past["job_id"], {"max_seconds": None, "seed": None})["spec"]
    assert spec["max_seconds"] is None
    assert spec["seed"] == 1


def test_a_job_keeps_its_values_where_the_declaration_has_changed_since(gateway):
    client = gateway.admin
    assert client.post("/projects", json={"declaration": DECLARED}).status_code == 201
    past = submitted(client, model="turning/reader")
    reader = DECLARED["models"]["reader"]
    now = {**reader, "hyperparameters": {**reader["hyperparameters"], "epochs": 9}, "seed": 11}
    body = {"declaration": {**DECLARED, "models": {"reader": now}}}
    assert client.put("/projects/turning", json=body).status_code == 200
    again = resubmitted(client, past["job_id"])
    assert again["spec"]["hyperparameters"]["epochs"] == 3
    assert again["spec"]["seed"] == past["spec"]["seed"]


def test_what_a_job_is_not_submitted_again_with_is_named_with_what_it_takes(gateway, past):
    told = refused(gateway.admin, past["job_id"], {"sed": 1, "model": "other", "epochs": 3})
    said = {error["field"]: error["message"] for error in told["errors"]}
    assert set(said) == {"set.sed", "set.model", "set.epochs"}
    assert "did you mean 'seed'" in said["set.sed"]
    assert "hyperparameters, max_seconds, resources, search, seed" in said["set.model"]


def test_a_value_that_does_not_fit_is_refused_where_it_stands(gateway, past):
    wrong = {"seed": "many", "resources.memory": "lots"}
    told = refused(gateway.admin, past["job_id"], wrong)
    assert {e["field"] for e in told["errors"]} == {"set.seed", "set.resources.memory"}


def test_who_may_not_start_a_job_of_the_kind_may_not_submit_it_again(gateway, past):
    viewer = gateway.with_role("viewer")
    told = refused(viewer, past["job_id"], {})
    assert told["type"].endswith("/forbidden")
    assert "execute on model" in told["detail"]


def test_a_job_of_another_organization_is_not_there(gateway, past):
    stranger = gateway.organization_admin("strange")
    assert refused(stranger, past["job_id"], {})["type"].endswith("/not-found")


def test_two_requests_with_one_key_are_one_job(gateway, past):
    key = {"Idempotency-Key": "again"}
    first = resubmitted(gateway.admin, past["job_id"], {"seed": 8}, key)
    second = resubmitted(gateway.admin, past["job_id"], {"seed": 8}, key)
    assert first["job_id"] == second["job_id"]
    other = gateway.admin.post(
        f"/jobs/{past['job_id']}/resubmit", json={"set": {"seed": 9}}, headers=key
    )
    assert other.status_code == 409


def test_an_agent_sees_the_job_before_it_agrees_to_it(gateway, past):
    client = gateway.admin
    call = {"tool": "jobs.resubmit", "params": {"id": past["job_id"], "set": {"seed": 9}}}
    before = len(client.get("/jobs").json()["items"])
    preview = client.post("/agent/execute", json=call).json()["preview"]
    assert preview["resolved"]["job"]["seed"] == 9
    assert len(client.get("/jobs").json()["items"]) == before
    done = client.post("/agent/execute", json={**call, "plan_hash": preview["plan_hash"]}).json()
    assert client.get(f"/jobs/{done['handle']}").json()["spec"]["seed"] == 9


def ended(up, job_id) -> dict:
    def job() -> dict | None:
        found = up.api.get(f"/jobs/{job_id}").json()
        return found if found["status"] in ENDED else None

    return until(job)


def test_the_command_line_submits_any_job_again_with_a_changed_value(up):
    taken = submitted(up.api, model="meadow/classifier", hyperparameters={"epochs": 2})
    first = ended(up, taken["job_id"])
    assert first["status"] == "succeeded", first
    change = ("--set", "hyperparameters.epochs=3", "--set", "hyperparameters.epoch_s=1e-3")
    done = up.orrery("jobs", "resubmit", first["job_id"], *change, "--json")
    assert done.returncode == 0, done.stderr
    again = ended(up, json.loads(done.stdout)["job_id"])
    assert again["status"] == "succeeded", again
    assert again["spec"]["hyperparameters"] == {"epochs": 3, "epoch_s": 0.001}
    assert again["spec"]["dataset"] == ended(up, first["job_id"])["spec"]["dataset"] | {
        "version": again["made"]["dataset_version"]
    }

    version = again["made"]["model_version"]
    path = "/simulation/environments/meadow.nudge"
    simulated = up.api.post(path, json={"model_version": version}).json()
    assert ended(up, simulated["job_id"])["status"] == "succeeded"
    repeated = resubmitted(up.api, simulated["job_id"])
    assert repeated["spec"]["artefact_digest"] == simulated["spec"]["artefact_digest"]
    assert ended(up, repeated["job_id"])["status"] == "succeeded"

    body = {"project": "meadow", "name": "classifier-api", "model_version": version}
    deployed = up.api.post("/inference/services", json=body).json()
    assert ended(up, deployed["job_id"])["status"] == "succeeded"
    repeated = resubmitted(up.api, deployed["job_id"])
    assert repeated["spec"]["model_version"] == version
    assert ended(up, repeated["job_id"])["status"] == "succeeded"
    assert up.orrery("services", "undeploy", "meadow.classifier-api").returncode == 0
