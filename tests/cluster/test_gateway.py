"""The gateway of a cluster whose API server is away: told at once, and to come again."""

import pytest

from resources.kubernetes_api import client
from tests import buckets
from tests.api.gateway import running_gateway

SERVICE = "/inference/services/flowers.classifier-api"
AWAY = {
    "answers with errors": lambda api: api.fail(503, times=1_000_000),
    "cuts connections": lambda api: api.leave(hanging=False),
    "hangs": lambda api: api.leave(hanging=True),
}


@pytest.fixture
def gateway(cluster, settings, flowers, tmp_path, monkeypatch):
    cluster.require("faults")
    monkeypatch.setattr(client, "BRIEF_S", 0.2)
    monkeypatch.setenv("ORRERY_OBJECTS", buckets.make_bucket(monkeypatch))
    monkeypatch.setenv("ORRERY_CLUSTER_NAMESPACE", cluster.namespace)
    monkeypatch.setenv("ORRERY_CLUSTER_KUBECONFIG", str(cluster.kubeconfig))
    with running_gateway(tmp_path / "gateway", flowers) as opened:
        yield opened
    cluster.api.heal()


@pytest.mark.parametrize("leave", AWAY.values(), ids=AWAY)
def test_an_api_server_that_is_away_is_503_after_one_attempt(leave, gateway, cluster):
    assert gateway.admin.get(SERVICE).status_code in (200, 404)
    before = len(cluster.api.requests)

    leave(cluster.api)
    answer = gateway.admin.delete(SERVICE)

    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert "the Kubernetes API did not do" in answer.json()["detail"]
    assert len(cluster.api.requests) - before <= 1
    cluster.api.heal()
    assert gateway.admin.delete(SERVICE).status_code != 503
