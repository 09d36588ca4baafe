"""One table of operations: routes, tools, commands and handlers agree with it, and each other."""

import httpx
import pytest
import typer

from api.agents.tools import tool_of
from api.app import Gateway, openapi
from api.cli.main import app as commands
from api.operations.operation import HEADERS, KEY_FIELD
from api.operations.table import BY_NAME, OPERATIONS
from api.problems import ALWAYS, TYPES
from api.settings import GatewaySettings
from resources.settings import Settings
from tests.api.agents.mcp_client import by_mcp
from tests.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def app():
    return Gateway(Settings(), GatewaySettings(), preload=False)


@pytest.fixture(scope="module")
def document(app):
    return openapi(app.api)


def test_names_and_routes_are_unique():
    assert len(BY_NAME) == len(OPERATIONS)
    assert len({(o.method, o.path) for o in OPERATIONS}) == len(OPERATIONS)


def test_every_operation_is_performed_by_something(app):
    assert app.executor.performed == set(BY_NAME)


def test_the_document_has_exactly_the_operations(document):
    routes = {
        (method.upper(), path, operation["operationId"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert routes == {(o.method, o.path, o.name) for o in OPERATIONS}


def test_the_document_is_openapi_3_1(document):
    assert document["openapi"].startswith("3.1")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_a_route_takes_exactly_the_fields_of_its_operation(document, operation):
    answer = document["paths"][operation.path][operation.method.lower()]
    wire_names = {alias: name for name, alias in HEADERS.items()}
    taken = {wire_names.get(p["name"], p["name"]) for p in answer.get("parameters", [])}
    if body := answer.get("requestBody"):
        schema = body["content"]["application/json"]["schema"]
        name = schema["$ref"].rpartition("/")[2]
        taken |= set(document["components"]["schemas"][name]["properties"])
    keyed = {KEY_FIELD} if operation.is_keyed else set()
    assert taken == {*operation.input.model_fields, *keyed}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_a_route_tells_of_every_problem_it_may_answer(document, operation):
    answer = document["paths"][operation.path][operation.method.lower()]["responses"]
    statuses = {str(TYPES[slug].status) for slug in (*ALWAYS, *operation.problems)}
    assert statuses | {str(operation.status)} == set(answer)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_a_tool_takes_exactly_the_fields_of_its_operation(operation):
    tool = tool_of(operation)
    assert set(tool.input_schema["properties"]) == set(operation.input.model_fields) or (
        not operation.input.model_fields
    )
    assert tool.changes == (operation.cost != "read")


def test_whatever_is_not_a_get_says_that_it_changes_something():
    reading = {o.name for o in OPERATIONS if not o.changes and o.method != "GET"}
    assert reading == {"services.predict"}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_a_command_takes_exactly_the_fields_of_its_operation(operation):
    group = typer.main.get_command(commands).commands[operation.group]
    command = group.commands[operation.verb]
    names = {parameter.name for parameter in command.params} - {"as_json", "follow_job", "help"}
    assert names == set(operation.input.model_fields)


def test_every_kind_of_problem_has_a_page(gateway):
    for slug, kind in TYPES.items():
        refusal = httpx.get(f"{gateway.url}/problems/{slug}", timeout=PATIENCE_S).json()
        assert (refusal["status"], refusal["todo"]) == (kind.status, kind.todo)


def test_the_document_is_served_to_anybody(gateway):
    assert httpx.get(f"{gateway.url}/openapi.json", timeout=PATIENCE_S).json()["paths"]


def test_the_reference_in_the_docs_is_the_table():
    from api.cli.reference import markdown
    from resources.settings import CHECKOUT

    kept = (CHECKOUT / "docs" / "api.md").read_text(encoding="utf-8")
    assert kept == markdown(OPERATIONS), "run `orrery openapi --markdown > docs/api.md`"


def test_a_tool_call_and_a_route_answer_the_same(gateway):
    by_route = gateway.admin.get("/projects").json()
    executed = gateway.admin.post("/agent/execute", json={"tool": "projects.list"}).json()
    assert executed["result"] == by_route


def test_the_mcp_server_offers_the_same_tools(gateway):
    offered = {t["name"] for t in gateway.admin.get("/agent/tools").json()["tools"]}

    async def listed(client):
        return {tool.name for tool in (await client.list_tools()).tools}

    assert by_mcp(gateway.url, gateway.admin_key, listed) == offered
    assert offered == {o.name for o in OPERATIONS if o.for_agents}
