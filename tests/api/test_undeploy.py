"""Undeploying a service holds no lock while the runtime is called, and records what came of it."""

import pytest

from accounts import audit
from resources.kubernetes_api.client import ClusterUnavailable
from resources.services.local import LocalRuntime

SERVICE = "/inference/services/flowers.classifier-api"


class Runtime(LocalRuntime):
    """The runtime of this machine; something happens while it undeploys."""

    def __init__(self, folder, meanwhile):
        super().__init__(folder, folder)
        self._meanwhile = meanwhile

    def undeploy(self, service):
        self._meanwhile()
        super().undeploy(service)


@pytest.fixture
def undeploying(gateway, tmp_path, monkeypatch):
    """Has something happen while the runtime undeploys."""

    def during(meanwhile):
        monkeypatch.setitem(vars(gateway.platform), "runtime", Runtime(tmp_path, meanwhile))

    return during


def entries(gateway):
    params = {"action": "services.undeploy"}
    return [entry["after"] for entry in gateway.admin.get("/audit", params=params).json()["items"]]


def test_others_write_to_the_control_database_while_the_runtime_undeploys(gateway, undeploying):
    def somebody_else_writes():
        with gateway.platform.control.write() as connection:
            audit.record(
                connection,
                organization=gateway.organization,
                actor="somebody else",
                action="test",
                object="x",
            )

    undeploying(somebody_else_writes)
    assert gateway.admin.delete(SERVICE).status_code == 200
    assert entries(gateway)[:2] == [{"undeployed": True}, {"requested": "undeploy"}]


def test_a_runtime_that_is_away_is_told_and_audited(gateway, undeploying):
    def fail():
        raise ClusterUnavailable("the Kubernetes API did not answer")

    undeploying(fail)
    answer = gateway.admin.delete(SERVICE)
    assert answer.status_code == 503
    assert "the Kubernetes API did not answer" in answer.json()["detail"]
    assert entries(gateway)[:2] == [
        {
            "undeployed": False,
            "error": "ClusterUnavailable: the Kubernetes API did not answer",
        },
        {"requested": "undeploy"},
    ]
