"""The UIs behind the gateway: seen by those who may see all, changed by those who may change."""

import asyncio
import json
import os
import sqlite3
import time
from pathlib import Path

import httpx
import mlflow
import pytest
import websockets

from api.consoles import mlflow_page
from api.consoles.dagster import MUTATIONS, UNKNOWN, mutations_in
from api.consoles.mlflow import permission_for
from api.problems import Problem

LAUNCH = "mutation { launchRun(executionParams: {selector: {}}) { __typename } }"
TERMINATE = 'mutation { terminateRun(runId: "x") { __typename } }'
API = "/mlflow/api/2.0/mlflow"


@pytest.fixture(scope="module")
def viewer(gateway):
    return gateway.with_role("viewer")


@pytest.fixture(scope="module")
def user(gateway):
    return gateway.with_role("user")


@pytest.fixture(scope="module")
def manager(gateway):
    return gateway.with_role("manager")


def graphql(client, query, **more):
    return client.post("/dagster/graphql", json={"query": query, **more})


def forbidden(answer):
    assert answer.status_code == 403, answer.text
    assert answer.json()["type"] == "/problems/forbidden"


def test_a_viewer_reads_dagster(viewer):
    assert graphql(viewer, "{ version }").json()["data"]["version"]


def test_the_page_of_dagster_opens_under_its_path(viewer):
    page = viewer.get("/dagster/runs")
    assert page.status_code == 200
    assert "/dagster" in page.text


@pytest.mark.parametrize(
    "query",
    [
        LAUNCH,
        TERMINATE,
        'mutation { a: terminateRun(runId: "x") { __typename } }',
        "query Q { version } " + TERMINATE,
        'mutation { ...F } fragment F on Mutation { terminateRun(runId: "x") { __typename } }',
        'mutation { ... on Mutation { terminateRun(runId: "x") { __typename } } }',
        "mutation { ... { ...F } } fragment F on Mutation { ...G } "
        "fragment G on Mutation { wipeAssets(assetPartitionRanges: []) { __typename } }",
        "mutation { somethingNew { __typename } }",
    ],
)
@pytest.mark.parametrize("role", ["viewer", "user"])
def test_whoever_may_not_launch_may_not_in_any_way_of_writing_it(gateway, role, query, request):
    forbidden(graphql(request.getfixturevalue(role), query, operationName="Q"))


def test_a_manager_may_stop_a_run(manager):
    answer = graphql(manager, TERMINATE)
    assert answer.json()["data"]["terminateRun"]["__typename"] == "RunNotFoundError"


def test_what_is_changed_in_dagster_is_audited(gateway, manager):
    graphql(manager, TERMINATE)
    result = gateway.admin.get("/audit", params={"action": "dagster.terminateRun"}).json()
    assert result["items"][0]["decision"] == "allowed"


def test_every_mutation_of_dagster_has_been_thought_about():
    from dagster_graphql.schema import create_schema

    root = create_schema().graphql_schema.mutation_type
    unknown = set(root.fields) - set(MUTATIONS)
    assert {MUTATIONS.get(name, UNKNOWN) for name in unknown} == {UNKNOWN}
    assert set(MUTATIONS) <= set(root.fields)


def test_a_mutation_is_not_sent_with_get(manager):
    answer = manager.get("/dagster/graphql", params={"query": TERMINATE})
    assert answer.status_code == 405


@pytest.mark.parametrize("kind", ["application/graphql", "text/plain", "multipart/form-data"])
def test_graphql_of_another_kind_is_not_taken(viewer, kind):
    answer = viewer.post(
        "/dagster/graphql", content=TERMINATE.encode(), headers={"Content-Type": kind}
    )
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b'"text"',
        json.dumps([{"query": TERMINATE}]).encode(),
        json.dumps(json.dumps({"query": TERMINATE})).encode(),
    ],
)
def test_graphql_that_is_no_object_is_malformed(viewer, body):
    headers = {"Content-Type": "application/json"}
    answer = viewer.post("/dagster/graphql", content=body, headers=headers)
    assert answer.status_code == 400


def test_of_two_queries_in_one_object_the_checked_one_is_the_one_that_runs(viewer):
    body = b'{"query": "mutation { terminateRun(runId: 1) { x } }", "query": "{ version }"}'
    headers = {"Content-Type": "application/json"}
    answer = viewer.post("/dagster/graphql", content=body, headers=headers)
    assert answer.json()["data"]["version"]


@pytest.mark.parametrize("name", ["graphql", "x"])
@pytest.mark.parametrize("kind", ["materialization", "observation", "check"])
def test_a_viewer_reports_no_events(viewer, kind, name):
    path = f"/dagster/report_asset_{kind}/digits/dataset/{name}"
    forbidden(viewer.post(path, json={"query": "{ version }", "metadata": {}}))


@pytest.mark.parametrize("path", ["/dagster/anything", "/dagster//graphql", "/dagster/graphql/"])
def test_nothing_is_posted_beside_graphql(viewer, path):
    assert viewer.post(path, json={"query": TERMINATE}).status_code == 405


def test_a_document_of_many_fragments_is_looked_at_once():
    text = "mutation { " + "...F " * 2000 + "} fragment F on Mutation { " + "logTelemetry " * 2000
    before = time.process_time()
    assert mutations_in(text + "}") == {"logTelemetry"}
    assert time.process_time() - before < 2


def test_a_document_without_end_is_malformed():
    with pytest.raises(Problem):
        mutations_in("{" + " a" * 100_000 + "}")


def test_fragments_that_name_each_other_end():
    text = "mutation { ...A } fragment A on Mutation { ...B } fragment B on Mutation { ...A x }"
    assert mutations_in(text) == {"x"}


def talk(gateway, key, message, origin=None):
    async def talked():
        url = gateway.url.replace("http", "ws") + "/dagster/graphql"
        headers = {"Authorization": f"Bearer {key}"}
        async with websockets.connect(
            url, subprotocols=["graphql-ws"], additional_headers=headers, origin=origin
        ) as connection:
            await connection.send(json.dumps({"type": "connection_init"}))
            assert json.loads(await connection.recv())["type"] == "connection_ack"
            await connection.send(json.dumps(message))
            return json.loads(await asyncio.wait_for(connection.recv(), 20))

    return asyncio.run(talked())


def test_a_subscription_runs_over_the_websocket(gateway):
    query = 'subscription { capturedLogs(logKey: ["x", "compute_logs", "y"]) { cursor } }'
    answer = talk(
        gateway, gateway.admin_key, {"id": "1", "type": "start", "payload": {"query": query}}
    )
    assert answer["type"] in ("data", "complete")


def test_a_mutation_over_the_websocket_ends_it(gateway):
    message = {"id": "1", "type": "start", "payload": {"query": TERMINATE}}
    with pytest.raises(websockets.ConnectionClosed):
        talk(gateway, gateway.key("viewer"), message)


def test_a_websocket_needs_a_key(gateway):
    async def connect():
        async with websockets.connect(gateway.url.replace("http", "ws") + "/dagster/graphql"):
            pass

    with pytest.raises(websockets.InvalidStatus):
        asyncio.run(connect())


def test_a_viewer_reads_mlflow(viewer):
    answer = viewer.post(f"{API}/experiments/search", json={"max_results": 5})
    assert answer.status_code == 200, answer.text
    assert viewer.get("/mlflow/").status_code == 200


def test_mlflow_opens_on_training_and_without_the_parts_that_are_closed(viewer):
    page = viewer.get("/mlflow/", headers={"If-None-Match": "*"}).text
    script = Path(mlflow.__file__).parent.joinpath("server/js/build/static/js")
    code = "".join(file.read_text() for file in script.glob("*.js"))

    assert page.index(mlflow_page.ADDED) < page.index('src="static-files/')
    for key in (*mlflow_page.FIRST, *mlflow_page.ALWAYS):
        assert f'"{key.removesuffix("_v1")}"' in code
    for shown in ("data-assistant-ui", "demo-banner.launch", "/gateway", "/mcp-registry"):
        assert any(shown in part for part in mlflow_page.HIDDEN)
        assert shown in code
    information = viewer.get("/mlflow/ajax-api/3.0/mlflow/server-info").json()
    assert information["features_enabled"] == {"gateway": False}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"{API}/experiments/create", {"name": "x"}),
        ("POST", f"{API}/runs/create", {"experiment_id": "0"}),
        ("POST", f"{API}/runs/log-batch", {"run_id": "x"}),
        ("POST", f"{API}/experiments/delete", {"experiment_id": "0"}),
        ("PUT", "/mlflow/api/2.0/mlflow-artifacts/artifacts/zz/search", None),
        ("PUT", "/mlflow/api/2.0/mlflow-artifacts/artifacts/x/graphql", None),
        ("DELETE", "/mlflow/api/2.0/mlflow-artifacts/artifacts/zz/search", None),
        ("POST", "/mlflow/ajax-api/2.0/mlflow/upload-artifact", None),
        ("POST", "/mlflow/ajax-api/2.0/mlflow/webhooks", {}),
        ("GET", "/mlflow/ajax-api/2.0/mlflow/gateway-proxy", None),
        ("POST", "/mlflow/ajax-api/3.0/mlflow/anything/new", {}),
    ],
)
def test_a_viewer_changes_nothing_in_mlflow(viewer, method, path, body):
    forbidden(viewer.request(method, path, json=body))


def test_a_user_logs_to_mlflow_with_its_own_client(gateway, monkeypatch):
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", gateway.key("user"))
    client = MlflowClient(f"{gateway.url}/mlflow")
    run = client.create_run(client.create_experiment("notebook"))
    client.log_metric(run.info.run_id, "loss", 0.5)
    client.log_text(run.info.run_id, "hello", "note.txt")
    assert client.get_run(run.info.run_id).data.metrics == {"loss": 0.5}
    assert [f.path for f in client.list_artifacts(run.info.run_id)] == ["note.txt"]


ALIAS = {"name": "flowers.classifier", "alias": "champion", "version": "1"}


@pytest.mark.parametrize("body", [ALIAS, json.dumps(ALIAS), [ALIAS]])
@pytest.mark.parametrize("version", ["2.0", "3.0"])
@pytest.mark.parametrize("front", ["api", "ajax-api"])
def test_nobody_moves_the_champion_past_the_gate(gateway, front, version, body):
    path = f"/mlflow/{front}/{version}/mlflow/registered-models/alias"
    assert gateway.admin.post(path, json=body).status_code in (400, 403)


@pytest.mark.parametrize(
    "path",
    [
        "registered-models/create",
        "registered-models/rename",
        "registered-models/delete",
        "model-versions/create",
        "model-versions/delete",
        "model-versions/transition-stage",
    ],
)
def test_the_registry_is_written_by_the_platform_alone(gateway, path):
    forbidden(gateway.admin.post(f"{API}/{path}", json={"name": "flowers.classifier"}))


def test_tags_of_the_platform_are_written_by_the_platform_alone(gateway):
    body = {"name": "m", "version": "1", "key": "orrery.artefact_digest", "value": "f"}
    forbidden(gateway.admin.post(f"{API}/model-versions/set-tag", json=body))


@pytest.mark.parametrize("name", ["artifact_location", "artifactLocation", "workspace"])
def test_an_experiment_keeps_its_files_nowhere_else(gateway, name):
    forbidden(gateway.admin.post(f"{API}/experiments/create", json={"name": "e", name: "/etc"}))


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", f"{API}/runs/create", ("experiment", "create")),
        ("POST", f"{API}/runs/delete", ("experiment", "delete")),
        ("DELETE", f"{API}/logged-models/x", ("experiment", "delete")),
        ("PATCH", f"{API}/model-versions/update", ("model", "update")),
    ],
)
def test_a_change_of_mlflow_needs_the_right_of_its_kind(method, path, expected):
    assert permission_for(path, method) == expected


@pytest.fixture
def browser(gateway):
    """A signed-in browser."""
    user = gateway.admin.get("/users").json()["items"][0]["id"]
    link = gateway.admin.post(f"/users/{user}/sign-in-link").json()["url"]
    client = httpx.Client(base_url=gateway.url, timeout=60)
    answer = client.get(link)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    return client


def test_a_one_time_link_signs_in_once(gateway):
    user = gateway.admin.get("/users").json()["items"][0]["id"]
    link = gateway.admin.post(f"/users/{user}/sign-in-link").json()["url"]
    assert httpx.get(link).status_code == 303
    assert httpx.get(link).status_code == 403


def test_a_browser_uses_dagster_from_its_own_pages(gateway, browser):
    headers = {"Sec-Fetch-Site": "same-origin"}
    answer = browser.post("/dagster/graphql", json={"query": "{ version }"}, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {},
    ],
)
def test_a_page_of_another_site_changes_nothing(browser, headers):
    body = {"query": TERMINATE}
    forbidden(browser.post("/dagster/graphql", json=body, headers=headers))
    forbidden(browser.post("/keys", json={"name": "x"}, headers=headers))


def test_a_signed_out_browser_is_out(browser):
    headers = {"Sec-Fetch-Site": "same-origin"}
    assert browser.post("/sign-out", headers=headers).status_code == 303
    assert browser.get("/me").status_code == 401


def test_a_stolen_cookie_is_worth_nothing_after_the_sign_out(gateway, browser):
    stolen = browser.cookies["orrery_session"]
    browser.post("/sign-out", headers={"Sec-Fetch-Site": "same-origin"})
    answer = httpx.get(f"{gateway.url}/me", cookies={"orrery_session": stolen})
    assert answer.status_code == 401


def test_no_request_makes_the_process_open_its_own_state(gateway):
    """Opening and closing a SQLite file drops the locks that the process holds on it."""
    folder = gateway.platform.settings.state
    for suite in ("../control.db", str(folder / "control.db"), "control.db"):
        declaration = {
            "project": "probe",
            "owner": "team:a",
            "models": {"m": {"trainer": "training.vision:train"}},
            "simulations": {"s": {"model": "m", "suite": suite}},
        }
        refused = gateway.admin.post("/projects", json={"declaration": declaration})
        assert refused.status_code == 422
    body = {"name": "kept", "role": "viewer", "kind": "service"}
    created = gateway.admin.post("/users", json=body).json()["id"]
    beside = sqlite3.connect(folder / "control.db")
    result = beside.execute("SELECT count(*) FROM users WHERE id = ?", (created,)).fetchone()
    beside.close()
    assert result == (1,)
    deleted = [
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{fd}")
    ]
    assert not [name for name in deleted if "control.db" in name and name.endswith("(deleted)")]
