"""Collections by the API: a plan, consent to it, and the work of a process of its own."""

import httpx
import pytest
from dagster import DagsterInstance

from api.collection.work import CollectionWork
from resources.collection.records import records
from resources.settings import CHECKOUT
from tests.api.agents.test_agents import execute, preview
from tests.control import new_database
from tests.old_runs import old_runs
from tests.waiting import until


@pytest.fixture(scope="module")
def bounded(flowers_folder):
    """The declaration of the test project keeps its dagster_runs for a month."""
    file = flowers_folder / "flowers.yaml"
    file.write_text(f"{file.read_text()}\nretention: {{runs: {{keep_days: 30}}}}\n")


@pytest.fixture(scope="module")
def gateway(bounded, gateway):
    return gateway


@pytest.fixture
def instance(gateway):
    with DagsterInstance.from_config(str(CHECKOUT)) as opened:
        for run in opened.get_runs():
            opened.delete_run(run.run_id)
        yield opened


def ended(client: httpx.Client, id: str, state: str) -> dict:
    """The collection, once it is in the state."""

    def look() -> dict | None:
        found = client.get(f"/collections/{id}").raise_for_status().json()
        assert found["state"] != "failed", found["message"]
        return found if found["state"] == state else None

    return until(look)


def planned(client: httpx.Client, **body: str) -> dict:
    asked = client.post("/collections", json=body)
    assert asked.status_code == 202, asked.text
    return ended(client, asked.json()["id"], "planned")


def total(collection: dict, outcome: str, kind: str = "dagster_run") -> int:
    found = [t for t in collection["totals"] if (t["outcome"], t["kind"]) == (outcome, kind)]
    return sum(each["things"] for each in found)


def entries(client: httpx.Client, id: str, **query: str | int) -> list[dict]:
    """Every entry that matches, page by page."""
    found, cursor = [], None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = client.get(f"/collections/{id}/entries", params={**query, **more}).json()
        found += page["items"]
        if (cursor := page["next_cursor"]) is None:
            return found


def test_what_was_planned_is_removed_on_request_and_told_with_its_rules(gateway, instance):
    old, young = old_runs(instance, 5, "flowers", days=40), old_runs(instance, 2, "flowers", days=5)

    plan = planned(gateway.admin)

    assert (total(plan, "chosen"), total(plan, "kept")) == (5, 2)
    going = entries(gateway.admin, plan["id"], outcome="chosen", kind="dagster_run", limit=2)
    assert {entry["name"] for entry in going} == set(old)
    assert {entry["reason"] for entry in going} == {"no bound of `retention.runs` keeps it"}
    (staying,) = entries(gateway.admin, plan["id"], outcome="kept", kind="dagster_run")
    assert (staying["reason"], staying["things"]) == ("younger than 30 days", 2)
    assert instance.get_runs_count() == 7

    asked = gateway.admin.post(f"/collections/{plan['id']}/run")
    assert asked.status_code == 202, asked.text
    done = ended(gateway.admin, plan["id"], "done")

    assert (total(done, "removed"), total(done, "chosen")) == (5, 0)
    assert {run.run_id for run in instance.get_runs()} == set(young)
    newest = gateway.admin.get("/collections", params={"limit": 1}).json()["items"][0]
    assert newest == done
    again = gateway.admin.post(f"/collections/{plan['id']}/run")
    assert again.status_code == 409
    audited = gateway.admin.get("/audit", params={"action": "collections"}).json()["items"]
    assert [entry["action"] for entry in audited[:2]] == ["collections.run", "collections.plan"]
    assert audited[0]["before"]["planned"][0]["things"] == 5


def test_an_agent_removes_what_its_preview_has_named(gateway, instance):
    old = old_runs(instance, 1, "flowers", days=40)
    agent = gateway.with_role("admin", agents_may_change=True)
    consent = preview(agent, "collections.plan", project="flowers")["plan_hash"]
    handle = execute(agent, "collections.plan", consent, project="flowers").json()["result"]["id"]
    ended(gateway.admin, handle, "planned")

    shown = preview(agent, "collections.run", id=handle)

    assert any("dagster_run: 1 go" in sentence for sentence in shown["consequences"])
    assert "cannot be undone" in shown["undo"]
    assert instance.has_run(old[0])
    done = execute(agent, "collections.run", shown["plan_hash"], id=handle)
    assert done.json()["status"] == "done", done.text
    ended(gateway.admin, handle, "done")
    assert not instance.has_run(old[0])


def test_another_organization_plans_and_sees_its_own_alone(gateway, instance):
    old_runs(instance, 1, "flowers", days=40)
    plan = planned(gateway.admin)
    other = gateway.organization_admin("acme")

    assert other.get(f"/collections/{plan['id']}").status_code == 404
    assert other.get(f"/collections/{plan['id']}/entries").status_code == 404
    assert other.post(f"/collections/{plan['id']}/run").status_code == 404
    assert other.get("/collections").json()["items"] == []
    assert planned(other)["totals"] == []


def test_one_of_the_whole_installation_shows_each_organization_its_own(gateway, instance):
    old_runs(instance, 1, "flowers", days=40)
    strange = old_runs(instance, 1, "acme--birds", days=40)
    with gateway.platform.control.write() as connection:
        record = records.create(connection, "orrery gc", is_mine=True)
    CollectionWork(gateway.platform, record).plan()
    other = gateway.organization_admin("acme")

    assert total(gateway.admin.get(f"/collections/{record.id}").json(), "chosen") == 1
    assert total(other.get(f"/collections/{record.id}").json(), "kept") == len(strange)
    (entry,) = entries(other, record.id)
    assert (entry["project"], entry["outcome"]) == ("birds", "kept")
    refused = gateway.admin.post(f"/collections/{record.id}/run")
    assert refused.status_code == 409


def test_a_second_plan_is_refused_while_one_is_made(gateway):
    control = gateway.platform.control
    with control.write() as connection:
        first = records.create(
            connection, "somebody", organization=gateway.organization, is_mine=True
        )

    second = gateway.admin.post("/collections", json={})

    with control.write() as connection:
        records.end(connection, first.id)
    assert second.status_code == 409
    assert first.id in second.json()["detail"]


def test_a_project_that_nobody_knows_has_no_plan(gateway):
    assert gateway.admin.post("/collections", json={"project": "nobody"}).status_code == 404


def test_work_that_was_cut_short_is_taken_up_and_finished(gateway, instance, monkeypatch):
    old = old_runs(instance, 3, "flowers", days=40)
    plan = planned(gateway.admin)
    # A process that took it and ended at once: its claim lapses.
    monkeypatch.setattr(records, "LAPSE_S", 0.5)
    with gateway.platform.control.write() as connection:
        records.begin(connection, plan["id"], is_mine=True)
    instance.delete_run(old[0])

    done = ended(gateway.admin, plan["id"], "done")

    assert total(done, "removed") == total(plan, "chosen")
    reasons = {e["reason"] for e in entries(gateway.admin, plan["id"], outcome="removed")}
    assert "was gone already" in reasons
    assert not any(instance.has_run(run) for run in old)


def test_the_records_lie_in_a_postgresql_too(postgresql, tmp_path, flowers_folder, monkeypatch):
    from tests.api.gateway import running_gateway

    monkeypatch.setenv("ORRERY_CONTROL", new_database(postgresql))
    monkeypatch.setenv("ORRERY_DAGSTER_STORAGE", new_database(postgresql))
    with (
        running_gateway(tmp_path, flowers_folder) as opened,
        DagsterInstance.from_config(str(CHECKOUT)) as instance,
    ):
        old = old_runs(instance, 2, "flowers", days=40)
        plan = planned(opened.admin)
        opened.admin.post(f"/collections/{plan['id']}/run").raise_for_status()
        done = ended(opened.admin, plan["id"], "done")
        assert total(done, "removed") == len(old)
        assert instance.get_runs_count() == 0
