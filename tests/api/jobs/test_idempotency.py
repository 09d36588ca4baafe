"""One request, one answer: keys, refusals, previews and plans, on both databases."""

import threading

import pytest

from api.operations.table import OPERATIONS
from tests.api.gateway import running_gateway
from tests.control import new_database

UNDECLARED = {
    "model": "training.vision:train",
    "dataset": "sklearn:digits",
    "hyperparameters": {"epochs": 1, "learning_rate": 1e-3, "batch_size": 64},
}
PLAN = {"project": "plans", "owner": "team:a"}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def gateway(request, tmp_path_factory, flowers_folder):
    """A gateway over each kind of control database."""
    folder = tmp_path_factory.mktemp(f"gateway-{request.param}")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "postgresql":
            database = new_database(request.getfixturevalue("postgresql"))
            patch.setenv("ORRERY_CONTROL", database)
        with running_gateway(
            folder, flowers_folder, price_gpu_h=2.0, price_process_h=1.0
        ) as opened:
            yield opened


def submit(client, key=None, **body):
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/train/jobs", json={"model": "classifier", **body}, headers=headers)


def at_once(count, work):
    results, threads = [], []
    for _ in range(count):
        threads.append(threading.Thread(target=lambda: results.append(work())))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_requests_that_race_with_one_key_get_one_answer(gateway):
    answers = at_once(8, lambda: submit(gateway.admin, "race"))
    assert {answer.status_code for answer in answers} == {202}, [a.text for a in answers]
    assert len({answer.json()["job_id"] for answer in answers}) == 1


def test_any_change_is_made_once_for_a_key(gateway):
    client, headers = gateway.admin, {"Idempotency-Key": "a-project"}
    body = {"declaration": {"project": "once", "owner": "team:a"}}
    answers = at_once(4, lambda: client.post("/projects", json=body, headers=headers))
    assert {answer.status_code for answer in answers} == {201}, [a.text for a in answers]
    assert len({answer.text for answer in answers}) == 1


def test_a_key_is_answered_again_after_what_it_made_has_changed(gateway):
    client, headers = gateway.admin, {"Idempotency-Key": "gone"}
    body = {"declaration": {"project": "gone", "owner": "team:a"}}
    first = client.post("/projects", json=body, headers=headers)
    client.delete("/projects/gone").raise_for_status()
    assert client.post("/projects", json=body, headers=headers).json() == first.json()


def test_a_job_of_a_deleted_project_is_still_the_answer_of_its_key(gateway):
    client = gateway.admin
    declared = {
        "project": "shortlived",
        "owner": "team:a",
        "models": {"m": {"trainer": "training.control:train"}},
    }
    client.post("/projects", json={"declaration": declared}).raise_for_status()
    hyperparameters = {"environment": "CartPole-v1", "iterations": 1}
    body = {"model": "shortlived/m", "hyperparameters": hyperparameters}
    first = submit(client, "short", **body)
    assert first.status_code == 202, first.text
    client.delete(f"/jobs/{first.json()['job_id']}").raise_for_status()
    client.delete("/projects/shortlived").raise_for_status()
    again = submit(client, "short", **body)
    assert again.json()["job_id"] == first.json()["job_id"]


def test_the_same_key_for_another_request_is_a_conflict(gateway):
    submit(gateway.admin, "mine", seed=1).raise_for_status()
    assert submit(gateway.admin, "mine", seed=2).status_code == 409


def test_a_refused_request_leaves_its_key_free(gateway):
    assert submit(gateway.admin, "later", model="nobody").status_code == 404
    assert submit(gateway.admin, "later").status_code == 202


def test_a_secret_is_shown_once_and_kept_nowhere(gateway):
    client, headers = gateway.admin, {"Idempotency-Key": "secret"}
    body = {"name": "ci", "role": "viewer"}
    created = client.post("/keys", json=body, headers=headers).json()
    again = client.post("/keys", json=body, headers=headers)
    assert again.status_code == 409
    with gateway.platform.control.read() as connection:
        kept = connection.exec_driver_sql("SELECT answer FROM answered_requests").scalars().all()
    assert not [answer for answer in kept if created["key"] in answer]


def projects_of(client):
    return {p["project"] for p in client.get("/projects").json()["items"]}


def test_nothing_is_declared_before_a_job_is_admitted(gateway):
    client = gateway.with_role("user", budget_money=0.001)
    body = UNDECLARED
    refused = submit(client, **body, max_seconds=3600)
    assert refused.status_code == 403, refused.text
    assert "adhoc" not in projects_of(gateway.admin)


def test_a_preview_declares_nothing(gateway):
    client = gateway.with_role("user", agents_may_change=True)
    body = {"tool": "train.submit", "params": UNDECLARED}
    client.post("/agent/execute", json=body).raise_for_status()
    assert "adhoc" not in projects_of(gateway.admin)


def test_an_unknown_duration_is_asked_for_where_a_budget_is_held(gateway):
    client = gateway.with_role("user", budget_money=10.0)
    refused = submit(client)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "max_seconds"
    assert submit(client, max_seconds=60).status_code == 202


def test_jobs_that_race_do_not_break_a_budget_of_money_together(gateway):
    client = gateway.with_role("user", budget_money=2.5)
    answers = at_once(6, lambda: submit(client, max_seconds=3600))
    assert sorted(a.status_code for a in answers) == [202, 202, 403, 403, 403, 403]
    (account,) = client.get("/me").json()["budgets"]
    assert account == {"unit": "money", "limit": 2.5, "used": 0.0, "reserved": 2.0, "left": 0.5}


def preview(client, tool, **params):
    return client.post("/agent/execute", json={"tool": tool, "params": params})


def agree(client, tool, plan_hash, **params):
    body = {"tool": tool, "params": params, "plan_hash": plan_hash}
    return client.post("/agent/execute", json=body)


def test_a_plan_is_carried_out_once_and_says_so_afterwards(gateway):
    client = gateway.with_role("user", agents_may_change=True)
    plan = preview(client, "train.submit", model="classifier").json()["preview"]["plan_hash"]
    first = agree(client, "train.submit", plan, model="classifier").json()
    again = agree(client, "train.submit", plan, model="classifier").json()
    assert (first["status"], again["status"]) == ("done", "already_done")
    assert first["handle"] == again["handle"]


def test_the_same_honest_request_later_is_a_new_intention(gateway):
    client = gateway.with_role("user", agents_may_change=True)
    handles = []
    for _ in range(2):
        plan = preview(client, "train.submit", model="classifier").json()["preview"]["plan_hash"]
        handles.append(agree(client, "train.submit", plan, model="classifier").json()["handle"])
    assert len(set(handles)) == 2


def test_a_plan_belongs_to_the_key_that_saw_it(gateway):
    client = gateway.with_role("manager", agents_may_change=True)
    plan = preview(client, "projects.create", declaration=PLAN).json()["preview"]["plan_hash"]
    other = gateway.with_role("manager", agents_may_change=True)
    refused = agree(other, "projects.create", plan, declaration=PLAN)
    assert refused.json()["type"] == "/problems/stale-plan"


def test_a_plan_does_not_act_again_when_the_state_comes_back(gateway):
    client = gateway.with_role("manager", agents_may_change=True)
    plan = preview(client, "projects.create", declaration=PLAN).json()["preview"]["plan_hash"]
    assert agree(client, "projects.create", plan, declaration=PLAN).json()["status"] == "done"
    client.delete("/projects/plans").raise_for_status()
    again = agree(client, "projects.create", plan, declaration=PLAN).json()
    assert again["status"] == "already_done"
    assert "plans" not in projects_of(client)


def test_a_plan_grows_old(gateway, monkeypatch):
    client = gateway.with_role("user", agents_may_change=True)
    plan = preview(client, "train.submit", model="classifier").json()["preview"]["plan_hash"]
    monkeypatch.setattr("api.agents.plans.LIFE_S", 0.0)
    refused = agree(client, "train.submit", plan, model="classifier")
    assert "older than" in refused.json()["detail"]


REFUSED_ALIKE = {
    "projects.create": {"declaration": {"project": "Bad Name", "owner": "nobody"}},
    "projects.replace": {"project": "flowers", "declaration": {"project": "flowers"}},
    "projects.delete": {"project": "flowers"},
    "simulate.create": {
        "project": "flowers",
        "name": "n",
        "model": "classifier",
        "suite": "simulations/suites/linf_attack.yaml",
    },
    "simulate.start": {"id": "flowers.nudge"},
    "simulate.delete": {"id": "flowers.nudge"},
    "services.deploy": {"project": "flowers", "name": "classifier-api"},
    "services.undeploy": {"id": "flowers.nobody"},
    "experiments.create": {"project": "nobody", "name": "n"},
    "experiments.start-run": {"id": "999", "name": "n"},
    "runs.log": {"id": "0" * 32, "metrics": [{"name": "a", "value": 1}]},
    "train.stop": {"id": "job_nobody"},
    "jobs.resubmit": {"id": "job_nobody"},
    "train.submit": {"model": "classifier", "resources": {"gpu": "400xA100"}},
    "keys.revoke": {"id": "key_nobody"},
    "users.remove": {"id": "usr_nobody"},
    "callbacks.replay": {"id": "msg_nobody"},
}


@pytest.mark.parametrize("tool", REFUSED_ALIKE)
def test_a_preview_refuses_what_the_operation_refuses(gateway, tool):
    client = gateway.admin
    operation = next(o for o in OPERATIONS if o.name == tool)
    if not operation.for_agents:
        pytest.skip(f"{tool} is no tool")
    params = REFUSED_ALIKE[tool]
    path = operation.path.format(**params)
    fields = {k: v for k, v in params.items() if k not in operation.path_fields}
    body = {"json": fields} if operation.has_body else {"params": fields}
    direct = client.request(operation.method, path, **body)
    previewed = preview(client, tool, **params)
    assert direct.status_code >= 400
    assert previewed.status_code == direct.status_code, previewed.text
    assert previewed.json()["detail"] == direct.json()["detail"]


def test_a_destructive_preview_says_what_else_is_lost_and_how_to_undo_it(gateway):
    client = gateway.admin
    client.post("/projects", json={"declaration": {"project": "told", "owner": "team:a"}})
    plan = preview(client, "projects.delete", project="told").json()["preview"]
    assert "owner: team:a" in plan["consequences"]
    assert plan["undo"]
