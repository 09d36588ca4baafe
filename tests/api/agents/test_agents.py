"""Agents: previews before changes, plans that hold or are refused."""

import json

import pytest

from tests.api.agents.mcp_client import by_mcp


@pytest.fixture(scope="module")
def agent(gateway):
    """A client whose agents may change things."""
    return gateway.with_role("user", agents_may_change=True)


@pytest.fixture(scope="module")
def reader(gateway):
    """A client of a key made without saying more: its agents only read."""
    return gateway.with_role("user")


def execute(client, tool, plan_hash=None, **params):
    body = {"tool": tool, "params": params}
    if plan_hash:
        body["plan_hash"] = plan_hash
    return client.post("/agent/execute", json=body)


def preview(client, tool, **params) -> dict:
    return execute(client, tool, **params).raise_for_status().json()["preview"]


def test_an_agent_only_reads_unless_its_key_says_more(reader):
    answer = reader.get("/agent/tools").json()
    assert answer["read_only"]
    assert not any(tool["changes"] for tool in answer["tools"])


def test_a_reading_key_is_refused_a_change_with_what_to_do(reader):
    refused = execute(reader, "train.submit", model="classifier")
    assert refused.status_code == 403
    assert "agents_may_change" in refused.json()["todo"]


def test_every_tool_has_schemas_of_both_sides(agent):
    for tool in agent.get("/agent/tools").json()["tools"]:
        assert tool["input_schema"]["type"] == "object"
        assert tool["output_schema"]["properties"]


def test_a_change_is_first_only_previewed(gateway, agent):
    before = gateway.admin.get("/jobs").json()["items"]
    answer = execute(agent, "train.submit", model="classifier").json()
    assert answer["status"] == "preview"
    assert answer["preview"]["resolved"]["job"]["hyperparameters"]
    assert gateway.admin.get("/jobs").json()["items"] == before


def test_a_preview_says_why_it_knows_no_cost(agent):
    plan = preview(agent, "train.submit", model="classifier")
    assert plan["cost"]["seconds"] is None
    assert "not enough history" in plan["cost"]["why"]


def test_an_agreed_plan_is_carried_out_once(agent):
    plan = preview(agent, "train.submit", model="classifier", seed=5)
    first = execute(agent, "train.submit", plan["plan_hash"], model="classifier", seed=5).json()
    second = execute(agent, "train.submit", plan["plan_hash"], model="classifier", seed=5).json()
    assert first["status"] == "done"
    assert first["handle"] == second["handle"]
    agent.delete(f"/train/jobs/{first['handle']}")


def test_a_plan_for_other_parameters_is_refused(agent):
    plan = preview(agent, "train.submit", model="classifier", seed=1)
    refused = execute(agent, "train.submit", plan["plan_hash"], model="classifier", seed=2)
    assert refused.status_code == 409
    assert refused.json()["type"] == "/problems/stale-plan"


def test_a_plan_whose_ground_has_changed_is_refused(gateway):
    manager = gateway.with_role("manager", agents_may_change=True)
    declaration = {"project": "ground", "owner": "team:a"}
    manager.post("/projects", json={"declaration": declaration}).raise_for_status()
    plan = preview(manager, "projects.delete", project="ground")
    changed = {**declaration, "description": "changed meanwhile"}
    manager.put("/projects/ground", json={"declaration": changed}).raise_for_status()
    refused = execute(manager, "projects.delete", plan["plan_hash"], project="ground")
    assert refused.json()["type"] == "/problems/stale-plan"
    assert manager.get("/projects/ground").status_code == 200


def test_a_plan_of_somebody_elses_organization_is_worth_nothing(gateway, agent):
    plan = preview(agent, "train.submit", model="classifier")
    other = gateway.organization_admin("elsewhere")
    refused = execute(other, "train.submit", plan["plan_hash"], model="classifier")
    assert refused.json()["type"] == "/problems/stale-plan"


def test_wrong_parameters_are_named_with_the_nearest_right_one(agent):
    refused = execute(agent, "train.submit", modle="classifier")
    errors = {e["field"]: e["message"] for e in refused.json()["errors"]}
    assert "did you mean 'model'" in errors["modle"]
    assert "model" in errors


def test_an_unknown_tool_is_answered_with_the_nearest(agent):
    assert "train.submit" in execute(agent, "train.sumbit").json()["detail"]


def test_a_budget_is_part_of_the_preview(gateway):
    client = gateway.with_role("user", agents_may_change=True, budget_gpu_h=2.0)
    plan = preview(client, "train.submit", model="classifier")
    (budget,) = plan["quota"]["budgets"]
    assert (budget["unit"], budget["limit"], budget["used"]) == ("gpu_h", 2.0, 0.0)
    assert (budget["left"], budget["needed"]) == (2.0, 0.0)


def test_an_agent_acts_in_somebodys_name_and_the_audit_knows(gateway, agent):
    plan = preview(agent, "train.submit", model="classifier", seed=9)
    body = {
        "tool": "train.submit",
        "params": {"model": "classifier", "seed": 9},
        "plan_hash": plan["plan_hash"],
    }
    created = agent.post("/agent/execute", json=body, headers={"X-On-Behalf-Of": "grace"}).json()
    entry = gateway.admin.get("/audit", params={"object": created["handle"]}).json()["items"][0]
    assert entry["on_behalf_of"] == "grace"
    agent.delete(f"/train/jobs/{created['handle']}")


def test_a_reading_tool_answers_structured_over_mcp(gateway):
    async def use(client):
        return await client.call_tool("projects.list", {})

    answer = by_mcp(gateway.url, gateway.key("viewer"), use)
    assert not answer.is_error
    assert answer.structured_content["items"][0]["project"] == "flowers"


def test_a_change_over_mcp_is_previewed_and_then_done(gateway):
    async def use(client):
        body = {"model": "classifier", "seed": 11}
        first = await client.call_tool("train.submit", body)
        plan = first.structured_content["preview"]["plan_hash"]
        return first, await client.call_tool("train.submit", {**body, "plan_hash": plan})

    first, second = by_mcp(gateway.url, gateway.key("user", agents_may_change=True), use)
    assert first.structured_content["status"] == "preview"
    assert second.structured_content["status"] == "done"
    gateway.admin.delete(f"/train/jobs/{second.structured_content['handle']}")


def test_an_mcp_tool_error_tells_what_to_change(gateway):
    async def use(client):
        return await client.call_tool("train.get", {"idd": "x"})

    answer = by_mcp(gateway.url, gateway.key("viewer"), use)
    assert answer.is_error
    assert "idd" in answer.content[0].text


def test_an_mcp_client_of_a_viewer_sees_no_changing_tool(gateway):
    async def use(client):
        return [tool.name for tool in (await client.list_tools()).tools]

    names = by_mcp(gateway.url, gateway.key("viewer"), use)
    assert "projects.list" in names
    assert "train.submit" not in names


def test_mcp_needs_a_key(gateway):
    assert gateway.client(None).post("/mcp", json={}).status_code == 401


def test_without_an_endpoint_a_sentence_is_told_what_to_set_up(agent):
    refused = agent.post("/agent/ask", json={"question": "what serves?"})
    assert refused.status_code == 501
    assert "ORRERY_ASK_URL" in refused.json()["todo"]


def test_too_little_history_is_said_and_nothing_is_guessed(agent):
    answer = agent.get("/train/recommendation", params={"model": "classifier"}).json()
    assert not answer["enough_history"]
    assert "not enough history" in answer["message"]
    assert answer["hyperparameters"] == {}


def test_a_recommendation_rests_on_the_best_of_past_runs(gateway, agent):
    client = gateway.platform.experiments._client
    experiment = client.create_experiment("flowers")
    runs = []
    for rate, accuracy in ((0.1, 0.7), (0.01, 0.9), (0.001, 0.8)):
        run = client.create_run(experiment, tags={"orrery.model": "classifier"}).info.run_id
        client.log_param(run, "learning_rate", rate)
        client.log_metric(run, "test_accuracy", accuracy)
        client.set_terminated(run)
        runs.append(run)
    answer = agent.get("/train/recommendation", params={"model": "classifier"}).json()
    assert answer["enough_history"]
    assert answer["hyperparameters"]["learning_rate"] == 0.01
    assert answer["based_on"][0] == runs[1]
    assert set(answer["based_on"]) == set(runs)


def test_a_recommendation_may_rest_on_the_trials_of_a_search(gateway, agent):
    client = gateway.platform.experiments._client
    known = client.get_experiment_by_name("flowers")
    experiment = known.experiment_id if known else client.create_experiment("flowers")
    for rate, loss in ((0.1, 0.7), (0.01, 0.2), (0.001, 0.8)):
        chosen = {"learning_rate": rate, "layers": [rate]}
        tags = {
            "orrery.model": "classifier",
            "orrery.trial": f"job/{rate}",
            "orrery.hyperparameters": json.dumps(chosen),
        }
        run = client.create_run(experiment, tags=tags).info.run_id
        client.log_metric(run, "validation_loss", loss)
        client.set_terminated(run)
    asked = {"model": "classifier", "metric": "validation_loss"}
    answer = agent.get("/train/recommendation", params=asked).json()
    assert answer["enough_history"]
    # Of a loss the lowest is the best, without being told so.
    assert answer["hyperparameters"] == {"learning_rate": 0.01, "layers": [0.01]}
    assert "3 of them trials of searches" in answer["message"]


SEARCH = {"over": {"learning_rate": {"log_uniform": [1e-4, 1e-2]}}, "metric": "loss"}


def test_a_search_can_be_ordered(agent):
    plan = preview(agent, "train.submit", model="classifier", search=SEARCH)
    job = plan["resolved"]["job"]
    assert job["search"]["over"] == SEARCH["over"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"search": {**SEARCH, "over": {"learning_rate": {"uniform": [2, 1]}}}}, "search"),
        ({"search": {**SEARCH, "metric": "test_accuracy"}}, "search"),
        ({"search": SEARCH, "resources": {"workers": 2}}, "resources.workers"),
    ],
)
def test_a_search_that_cannot_be_is_refused_when_it_is_ordered(agent, changes, field):
    answer = execute(agent, "train.submit", model="classifier", **changes)
    assert answer.status_code == 422
    assert any(field in error["field"] for error in answer.json()["errors"]), answer.json()
