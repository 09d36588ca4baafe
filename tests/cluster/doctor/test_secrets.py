"""The doctor looks at the keys of Secrets, not at their values, and at what else tells of them."""

import pytest

from deploy.doctor.vantage import SERVICE_HOST
from tests.cluster.doctor.examined import (
    BUCKET,
    ENCODED,
    PASSWORD,
    RUN_DATABASES,
    SECRETS,
    findings,
    named,
    the,
    unwell,
)
from tests.cluster.kube import SLEEP, pod
from tests.waiting import until

pytest_plugins = ("tests.cluster.doctor.examined",)


def replace(cluster, name, keys):
    """Give the Secret these keys and no others."""
    cluster.api.delete("Secret", name)
    cluster.api.create(
        {**named("Secret", name, cluster.namespace), "data": dict.fromkeys(keys, ENCODED)}
    )


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *(("orrery-secrets", key) for key in (*RUN_DATABASES, *BUCKET)),
        ("orrery-control", "ORRERY_CONTROL"),
        ("orrery-engines", "ORRERY_MLFLOW_URI"),
        ("orrery-bucket", "AWS_SECRET_ACCESS_KEY"),
        ("orrery-instance", "secret"),
    ],
)
def test_a_key_that_a_secret_lacks_is_named(whole, name, key):
    replace(whole, name, [each for each in SECRETS[name] if each != key])

    one = the(f"Secret {name}")

    assert unwell() == {f"Secret {name}": "missing"}
    assert f"the Secret {name} in {whole.namespace} lacks {key};" in one.message
    assert one.commands[0] == f"kubectl -n {whole.namespace} delete secret {name}"
    assert f"create secret generic {name} " in one.commands[1]
    assert PASSWORD not in str(findings())


@pytest.mark.parametrize("name", ["orrery-secrets", "orrery-engines", "orrery-bucket"])
def test_a_secret_may_leave_the_credentials_of_the_bucket_to_the_cloud(whole, name):
    replace(whole, name, [each for each in SECRETS[name] if each not in BUCKET])

    assert unwell() == {}


def test_a_variable_of_the_settings_need_not_be_in_a_secret(whole):
    change = {"data": {"ORRERY_MLFLOW_URI": "https://mlflow.example.com"}}
    whole.api.patch("ConfigMap", "orrery-settings", change)
    replace(whole, "orrery-engines", BUCKET)

    assert unwell() == {}


@pytest.fixture
def gateway(whole, monkeypatch, tmp_path):
    """The gateway's pod, which may not read Secrets, and was started with its own."""
    file = tmp_path / "secret"
    file.write_bytes(b"0" * 32)
    monkeypatch.setenv(SERVICE_HOST, "10.96.0.1")
    monkeypatch.setenv("ORRERY_SECRET_FILE", str(file))
    whole.api.deny("*", "secrets")
    return whole


def test_the_gateway_knows_its_own_secrets_by_what_it_was_started_with(gateway):
    own = ("orrery-secrets", "orrery-control", "orrery-instance")

    assert [the(f"Secret {name}").state for name in own] == ["ok"] * 3


def test_a_variable_that_the_gateway_was_started_without_is_missing(gateway, monkeypatch):
    monkeypatch.delenv("ORRERY_CONTROL")

    one = the("Secret orrery-control")

    assert one.state == "missing"
    assert "started without ORRERY_CONTROL" in one.message
    assert one.commands == (
        f"kubectl -n {gateway.namespace} rollout restart deployment gateway daemon",
    )


def test_a_secret_of_the_instance_that_is_no_file_is_missing(gateway, monkeypatch, tmp_path):
    monkeypatch.setenv("ORRERY_SECRET_FILE", str(tmp_path / "elsewhere"))

    assert the("Secret orrery-instance").state == "missing"


def test_a_person_who_may_not_read_secrets_is_told_the_command(whole):
    whole.api.deny("*", "secrets")

    one = the("Secret orrery-secrets")

    assert one.state == "skipped"
    assert one.commands == (f"kubectl -n {whole.namespace} describe secret orrery-secrets",)


def start_with(cluster, secret):
    sources = [{"secretRef": {"name": secret}}]
    cluster.api.create(pod("works", SLEEP, envFrom=sources), cluster.namespace)


def test_a_pod_that_was_started_with_a_secret_shows_it(gateway):
    start_with(gateway, "orrery-engines")

    until(lambda: the("Secret orrery-engines").state == "ok", 20)

    assert "the pod works was started with it" in the("Secret orrery-engines").message
    assert the("Secret orrery-bucket").state == "skipped"


def test_a_pod_that_waits_for_a_secret_shows_that_it_is_not_there(gateway):
    gateway.api.delete("Secret", "orrery-engines")
    start_with(gateway, "orrery-engines")

    until(lambda: the("Secret orrery-engines").state == "missing", 20)

    assert "the pod works cannot start" in the("Secret orrery-engines").message


@pytest.mark.parametrize("lacking", ["tls.crt", "tls.key"])
def test_a_certificate_without_a_key_is_missing(whole, lacking):
    kept = {"tls.crt", "tls.key"} - {lacking}
    replace(whole, "orrery-tls", kept)

    assert unwell() == {"certificate orrery-tls": "missing"}
    assert f"lacks {lacking}" in the("certificate orrery-tls").message


def test_the_gateways_controller_tells_of_a_certificate_that_may_not_be_read(gateway):
    well = the("certificate orrery-tls")
    gateway.api.delete("Secret", "orrery-tls")
    until(lambda: the("certificate orrery-tls").state != "ok", 20)

    ill = the("certificate orrery-tls")

    assert "says the Gateway's controller" in well.message
    assert ill.state == "missing"
    assert "orrery-tls does not exist" in ill.message
    assert "create secret tls orrery-tls" in ill.commands[0]
