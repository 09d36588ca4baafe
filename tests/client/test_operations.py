"""The client has every operation of the table, with every field of it, and is up to date."""

import ast
import inspect
import json
import sys
from urllib.parse import parse_qs

import httpx
import pytest

import orrery
from api.client_code.files import CLIENT, files, stale
from api.client_code.groups import method_of
from api.operations.operation import HEADERS, KEY_FIELD, Operation
from api.operations.table import OPERATIONS
from api.problems import TYPES
from orrery import errors
from orrery.connection import Connection, Listing
from orrery.operations import Operations

LONGEST = 330


def method(operations: Operations, operation: Operation):
    return getattr(getattr(operations, operation.group), method_of(operation))


def fields_of(operation: Operation) -> set[str]:
    return {*operation.input.model_fields, *({KEY_FIELD} if operation.is_keyed else ())}


@pytest.fixture
def asked():
    """Operations whose requests are kept, and answered with a refusal."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(404, json={"type": "/problems/not-found", "detail": "kept"})

    connection = Connection("http://nobody", "k", transport=httpx.MockTransport(answer))
    return Operations(connection), requests


def test_the_written_files_are_those_of_the_table():
    assert stale(files()) == [], "run `python -m api.client_code`"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_a_method_takes_exactly_the_fields_of_its_operation(operation, asked):
    operations, _ = asked
    taken = inspect.signature(method(operations, operation)).parameters
    assert set(taken) == fields_of(operation)
    required = {n for n, p in taken.items() if p.default is inspect.Parameter.empty}
    fields = operation.input.model_fields
    assert required == {n for n in fields if fields[n].is_required() or n in operation.path_fields}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_a_method_puts_every_field_where_its_route_takes_it(operation, asked):
    operations, requests = asked
    given = {name: f"a/{name}" for name in fields_of(operation)}
    with pytest.raises(errors.NotFound):
        answer = method(operations, operation)(**given)
        next(iter(answer))
    (request,) = requests
    assert request.method == operation.method
    path = operation.path.format(**{n: f"a%2F{n}" for n in operation.path_fields})
    assert request.url.raw_path.decode().partition("?")[0] == path
    for name in [*operation.header_fields, *([KEY_FIELD] if operation.is_keyed else [])]:
        assert request.headers[HEADERS[name]] == given[name]
    others = {name: given[name] for name in operation.other_fields}
    if operation.has_body:
        assert json.loads(request.content) == others
    else:
        assert request.content == b""
        sent = parse_qs(request.url.query.decode())
        assert sent == {name: [value] for name, value in others.items()}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_what_is_not_said_is_left_to_the_platform_and_every_change_has_a_key(operation, asked):
    operations, requests = asked
    fields = operation.input.model_fields
    given = {n: "x" for n in fields if fields[n].is_required() or n in operation.path_fields}
    with pytest.raises(errors.NotFound):
        next(iter(method(operations, operation)(**given)))
    (request,) = requests
    keyed = operation.changes and KEY_FIELD in fields_of(operation)
    assert (HEADERS[KEY_FIELD] in request.headers) == keyed
    sent = json.loads(request.content) if operation.has_body else dict(request.url.params)
    for name, value in sent.items():
        if name not in given:
            default = fields[name].get_default(call_default_factory=True)
            assert value in (default, str(default), str(default).lower())


def test_null_is_sent_where_it_means_something_else_than_nothing(asked):
    operations, requests = asked
    with pytest.raises(errors.NotFound):
        operations.keys.create("robot", expires_in_days=None, budget_money=None)
    assert json.loads(requests[0].content)["expires_in_days"] is None
    assert "budget_money" not in json.loads(requests[0].content)


def test_the_handles_take_the_fields_of_their_operations():
    client = orrery.connect("http://nobody", "k")
    for handle, operation in (
        (client.train, client.operations.train.submit),
        (client.simulate, client.operations.simulate.start),
        (client.deploy, client.operations.services.deploy),
    ):
        options = [
            {
                n: p.annotation
                for n, p in inspect.signature(each).parameters.items()
                if p.kind is inspect.Parameter.KEYWORD_ONLY
            }
            for each in (handle, operation)
        ]
        assert options[0] == options[1]


def test_every_kind_of_problem_has_a_class_of_its_own():
    classes = {kind.code: kind for kind in errors.Refused.__subclasses__()}
    assert set(classes) == set(TYPES)
    for slug, kind in classes.items():
        name = "".join(part.capitalize() for part in slug.split("-"))
        assert kind.__name__ == name
        assert getattr(orrery, name) is kind


def test_an_answer_with_a_secret_does_not_show_it(asked):
    from orrery.answers.keys import NewApiKey

    hidden = [f.name for f in NewApiKey.__dataclass_fields__.values() if not f.repr]
    assert hidden == ["key"]


def test_reading_lists_are_lazy(asked):
    operations, requests = asked
    assert isinstance(operations.jobs.list(), Listing)
    assert requests == []


def test_the_client_imports_nothing_of_the_platform():
    allowed = {"orrery", "httpx"}
    found = set()
    for file in CLIENT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
    assert found - set(sys.stdlib_module_names) <= allowed


def test_no_module_of_the_client_is_too_long():
    lengths = {str(f.relative_to(CLIENT)): f.read_text().count("\n") for f in CLIENT.rglob("*.py")}
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}
