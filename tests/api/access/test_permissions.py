"""Who may do what, from one table, through the real gateway."""

from itertools import pairwise

import httpx
import pytest

from accounts.roles import ACTIONS, GRANTS, RESOURCES, ROLES, Permission, allows
from api.operations.table import OPERATIONS

EXPECTED = {
    "admin": {resource: set(ACTIONS) for resource in RESOURCES},
    "manager": {
        **{
            resource: set(ACTIONS)
            for resource in ("project", "experiment", "model", "service", "simulation")
        },
        "key": {"create", "read", "update", "delete"},
        "user": {"create", "read", "update"},
        "organization": {"read"},
        "audit": {"read"},
        "collection": {"read"},
    },
    "user": {
        "project": {"read"},
        "experiment": {"create", "read", "update"},
        "model": {"create", "read", "update", "execute"},
        "service": {"read", "execute"},
        "simulation": {"create", "read", "update", "execute"},
        "key": {"create", "read", "delete"},
        "organization": {"read"},
    },
    "viewer": {
        resource: {"read"}
        for resource in ("project", "experiment", "model", "service", "simulation", "organization")
    },
}
"""Written out a second time on purpose: a grant that changes must be meant."""
FILLERS = {
    "id": "nothing",
    "project": "nothing",
    "dataset": "nothing",
    "model": "nothing",
    "version": "1",
    "checkpoint": "0" * 8,
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize("role", ROLES)
def test_the_table_grants_what_was_meant(role, resource, action):
    assert allows(role, Permission(resource, action)) == (
        action in EXPECTED[role].get(resource, set())
    )


def test_a_weaker_role_may_never_do_more():
    for stronger, weaker in pairwise(ROLES):
        for resource, actions in GRANTS[weaker].items():
            assert actions <= GRANTS[stronger].get(resource, frozenset())


@pytest.fixture(scope="module")
def clients(gateway):
    return {role: gateway.with_role(role) for role in ROLES}


def _asked(client, operation):
    path = operation.path.format(**FILLERS)
    body = {} if operation.has_body else None
    return client.request(operation.method, path, json=body)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_every_operation_is_denied_exactly_to_roles_without_its_right(
    gateway, clients, operation, role
):
    answer = _asked(clients[role], operation)

    is_allowed = operation.permission is None or allows(role, operation.permission)
    assert answer.status_code != 500, answer.text
    if is_allowed:
        assert answer.status_code not in (401,), answer.text
        assert answer.status_code != 403 or "does not have the right" not in answer.text
    else:
        assert answer.status_code == 403, answer.text
        assert "does not have the right" in answer.json()["detail"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_no_operation_answers_a_stranger(gateway, operation):
    # Every stranger comes from an address of its own: failures of one address are limited.
    address = f"127.0.0.{2 + OPERATIONS.index(operation)}"
    transport = httpx.HTTPTransport(local_address=address)
    answer = _asked(httpx.Client(base_url=gateway.url, transport=transport), operation)

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_denial_is_audited_with_its_reason(gateway, clients):
    clients["viewer"].post("/train/jobs", json={"model": "classifier"})

    entries = gateway.admin.get("/audit", params={"decision": "denied", "action": "train"}).json()
    assert entries["items"][0]["action"] == "train.submit"
    assert "role viewer" in entries["items"][0]["reason"]
