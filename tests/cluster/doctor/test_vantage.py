"""From outside the cluster, what only pods reach is skipped with the command that looks there."""

import boto3
import pytest

from deploy.doctor.vantage import SERVICE_HOST
from tests.cluster.doctor.examined import DATABASES, the

pytest_plugins = ("tests.cluster.doctor.examined",)

# Names that no resolver knows: `.invalid` is reserved, and a Service's name has no other part.
SERVICES = ("orrery-test-postgresql-of-a-cluster", "postgresql.orrery.svc", "a.b.svc.cluster.local")


@pytest.fixture
def from_within(cluster):
    return (f"kubectl -n {cluster.namespace} exec deploy/gateway -- orrery doctor",)


@pytest.mark.parametrize("variable", DATABASES)
@pytest.mark.parametrize("host", SERVICES)
def test_a_database_in_the_cluster_is_skipped(configured, from_within, monkeypatch, variable, host):
    monkeypatch.setenv(variable, f"postgresql+psycopg://orrery:secret@{host}:5432/there")

    one = the(variable)

    assert (one.state, one.commands) == ("skipped", from_within)
    assert f"{host} has an address inside the cluster alone" in one.message


def test_a_database_of_several_servers_in_the_cluster_is_skipped(
    configured, from_within, monkeypatch
):
    hosts = "host=db-0.db.orrery.svc:5432&host=db-1.db.orrery.svc:5432"
    monkeypatch.setenv("ORRERY_CONTROL", f"postgresql+psycopg://orrery:secret@/there?{hosts}")

    assert the("ORRERY_CONTROL").commands == from_within


def test_an_mlflow_in_the_cluster_is_skipped(configured, from_within, monkeypatch):
    monkeypatch.setenv("ORRERY_MLFLOW_URI", "http://mlflow.orrery.svc:5000")

    assert the("ORRERY_MLFLOW_URI").commands == from_within


def test_a_bucket_in_the_cluster_is_skipped(configured, from_within, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://orrery-test-minio-of-a-cluster:9000")

    one = the("object store")

    assert (one.state, one.commands) == ("skipped", from_within)


def test_a_prometheus_in_the_cluster_is_skipped(configured, from_within, monkeypatch):
    url = "http://prometheus-operated.monitoring.svc:9090"
    monkeypatch.setenv("ORRERY_CLUSTER_PROMETHEUS_URL", url)

    one = the("Prometheus")

    assert (one.state, one.commands) == ("skipped", from_within)


@pytest.mark.parametrize("variable", DATABASES)
def test_a_database_that_only_pods_are_told_of_is_skipped(
    configured, from_within, monkeypatch, variable
):
    monkeypatch.delenv(variable)

    one = the(variable)

    assert (one.state, one.commands) == ("skipped", from_within)


def test_a_bucket_whose_credentials_only_pods_have_is_skipped(
    configured, from_within, monkeypatch, tmp_path
):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    # It keeps the credentials that it has found once.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    one = the("object store")

    assert (one.state, one.commands) == ("skipped", from_within)


@pytest.mark.parametrize("host", SERVICES)
def test_in_a_pod_the_same_address_is_looked_at(configured, monkeypatch, host):
    monkeypatch.setenv(SERVICE_HOST, "10.96.0.1")
    url = f"postgresql+psycopg://orrery:secret@{host}:5432/there"
    monkeypatch.setenv("ORRERY_CONTROL", url)

    assert the("ORRERY_CONTROL").state == "missing"


def test_an_address_outside_the_cluster_is_looked_at_from_anywhere(configured, monkeypatch):
    url = "postgresql+psycopg://orrery:secret@db.example.invalid:5432/there"
    monkeypatch.setenv("ORRERY_CONTROL", url)

    assert the("ORRERY_CONTROL").state == "missing"
