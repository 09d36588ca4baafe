"""Where nothing comes back, the doctor names host, port and network policies."""

import socket
from collections.abc import Iterator

import pytest

from deploy.doctor import store_checks
from deploy.doctor.operators import prometheus_checks
from tests.cluster.doctor.examined import DATABASES, the

pytest_plugins = ("tests.cluster.doctor.examined",)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port at which connections are taken, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def assert_named(one, port):
    assert one.state == "missing"
    assert f"127.0.0.1 on port {port}" in one.message
    assert f"network policy that does not let pods out to port {port}" in one.todo
    assert "docs/kubernetes.md, Ports" in one.todo


@pytest.mark.parametrize("variable", DATABASES)
def test_a_silent_database(configured, silent, variable, monkeypatch):
    monkeypatch.setattr(store_checks, "CONNECT_S", 2)
    monkeypatch.setenv(variable, f"postgresql+psycopg://orrery@127.0.0.1:{silent}/there")

    assert_named(the(variable), silent)


@pytest.mark.parametrize("finding", ["clock", "object store"])
def test_a_silent_bucket(configured, silent, finding, monkeypatch):
    monkeypatch.setattr(store_checks, "ANSWER_S", 0.2)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent}")
    monkeypatch.setenv("ORRERY_BUCKET_ATTEMPTS", "1")
    monkeypatch.setenv("ORRERY_BUCKET_READ_TIMEOUT_S", "0.2")

    assert_named(the(finding), silent)


def test_a_silent_prometheus(configured, silent, monkeypatch):
    monkeypatch.setattr(prometheus_checks, "ANSWER_S", 0.2)
    monkeypatch.setenv("ORRERY_CLUSTER_PROMETHEUS_URL", f"http://127.0.0.1:{silent}")

    assert_named(the("Prometheus"), silent)
