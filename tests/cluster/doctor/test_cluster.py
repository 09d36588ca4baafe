"""The doctor names what is missing, says what to do, and tells no secret."""

import json
import re
import subprocess
import sys
import time
from dataclasses import asdict

import pytest
from botocore.exceptions import ClientError

from deploy.doctor import store_checks
from deploy.doctor.finding import redacted
from deploy.doctor.vantage import SERVICE_HOST
from resources.kubernetes_api import client as cluster_client
from resources.kubernetes_api.client import Cluster
from resources.kubernetes_api.pod_template import GPU
from resources.kubernetes_api.settings import ClusterSettings
from resources.settings import CHECKOUT, Settings
from tests import buckets
from tests.cluster.doctor.examined import (
    DATABASES,
    ENCODED,
    PASSWORD,
    SECRETS,
    findings,
    named,
    the,
    unwell,
)
from tests.cluster.double.api.api_server import ApiServer
from tests.cluster.real_cluster import only_double

pytest_plugins = ("tests.cluster.doctor.examined",)


def test_a_platform_that_lacks_nothing_is_told_to_be_well(whole):
    names = [each.name for each in findings()]

    assert len(names) == len(set(names))
    assert {"Kubernetes", "RayJob", "queue", "gateway", "clock", "KubeRay", "Kueue"} <= set(names)
    assert {f"rights of orrery-{each}" for each in ("gateway", "daemon", "run")} <= set(names)
    assert set(DATABASES) < set(names)


@pytest.mark.parametrize(
    ("kind", "name", "finding", "todo"),
    [
        ("ConfigMap", "orrery-settings", "ConfigMap orrery-settings", "kubectl apply -k"),
        *(("Secret", name, f"Secret {name}", f"secret generic {name} ") for name in SECRETS),
        ("Secret", "orrery-tls", "certificate orrery-tls", "secret tls orrery-tls --cert="),
        ("LocalQueue", "training", "queue", "components/queues"),
        ("Gateway", "public", "gateway", "components/gateway-api"),
    ],
)
def test_what_is_gone_is_named_with_what_to_do(whole, kind, name, finding, todo):
    whole.api.delete(kind, name)

    one = the(finding)

    assert one.state == "missing"
    assert name in one.message
    assert todo in "\n".join((one.todo, *one.commands))
    assert [*unwell()] == [finding]


@pytest.mark.parametrize(
    ("kind", "finding", "todo"),
    [
        ("WorkloadPriorityClass", "priorities", "components/queues"),
        ("StorageClass", "storage class", "annotate one"),
    ],
)
def test_what_only_some_need_is_a_warning(whole, kind, finding, todo):
    for each in whole.api.list(kind):
        whole.api.delete(kind, each["metadata"]["name"])

    one = the(finding)

    assert one.state == "warning"
    assert todo in one.todo


def test_the_objects_of_a_namespace_are_found_and_what_is_gone_is_named(configured, cluster):
    for name, keys in SECRETS.items():
        thing = named("Secret", name, cluster.namespace)
        cluster.api.create({**thing, "data": dict.fromkeys(keys, ENCODED)})
    cluster.api.create(named("ConfigMap", "orrery-settings", cluster.namespace))
    there = {"Kubernetes", "ConfigMap orrery-settings", *(f"Secret {name}" for name in SECRETS)}
    states = {each.name: each.state for each in findings()}
    assert {name: states[name] for name in there} == dict.fromkeys(there, "ok")

    cluster.api.delete("Secret", "orrery-engines")

    gone = the("Secret orrery-engines")
    assert gone.state == "missing"
    assert "kubectl -n" in gone.commands[0]


@only_double("is about nodes without GPUs")
def test_nodes_without_gpus_are_a_warning(configured):
    assert (the("GPUs").state, GPU in the("GPUs").message) == ("warning", True)


def test_a_queue_and_a_gateway_must_be_ready(whole, monkeypatch):
    said = {
        "LocalQueue": {"type": "Active", "status": "False", "message": "all is stopped"},
        "Gateway": {"type": "Programmed", "status": "False", "reason": "NoResources"},
    }
    get = Cluster.get

    def answered(self, kind, name):
        thing = get(self, kind, name)
        return {**thing, "status": {"conditions": [said[kind]]}} if kind in said else thing

    monkeypatch.setattr(Cluster, "get", answered)

    queue, gateway = the("queue"), the("gateway")

    assert (queue.state, gateway.state) == ("missing", "missing")
    assert "LocalQueue training is not Active: all is stopped" in queue.message
    assert "Gateway public is not Programmed: NoResources" in gateway.message
    assert "gatewayClassName" in gateway.todo
    assert f"kubectl -n {whole.namespace} describe gateway public" in gateway.commands


def test_a_kind_that_is_not_served_names_the_product(whole, monkeypatch):
    monkeypatch.setattr(Cluster, "serves", lambda self, kind: False)

    answer = {each.name: each for each in findings() if each.state == "missing"}

    assert "KubeRay 1.7.0" in answer["RayJob"].todo
    assert "Kueue 0.19.2" in answer["LocalQueue"].todo
    assert "Gateway API 1.6.1" in answer["HTTPRoute"].todo
    assert "KEDA 2.20.2" in answer["ScaledObject"].todo


def test_an_old_cluster_is_named_with_the_version_it_must_have(whole, monkeypatch):
    monkeypatch.setattr(Cluster, "version", lambda self: (1, 30))

    assert "1.30, expected 1.31 or newer" in the("Kubernetes").message


@pytest.mark.parametrize(
    ("verb", "resource", "skipped"),
    [
        ("get", "secrets", [f"Secret {name}" for name in SECRETS]),
        (
            "get",
            "namespaces",
            [
                "namespace",
                "entry of KubeRay from kuberay-operator",
                "entry of Gateway controller from envoy-gateway-system",
            ],
        ),
        ("list", "nodes", ["room", "GPUs"]),
        ("list", "storageclasses", ["storage class"]),
    ],
)
def test_what_may_not_be_read_is_skipped_with_the_right(whole, verb, resource, skipped):
    whole.api.deny(verb, resource)

    others = [each for each in findings() if each.state != "ok"]

    assert [(each.name, each.state) for each in others] == [(n, "skipped") for n in skipped]
    assert all(f"lacks the right `{verb} {resource}`" in each.message for each in others)
    assert all(each.commands for each in others)


def test_images_without_a_version_are_a_warning(whole, monkeypatch):
    monkeypatch.setenv("ORRERY_CLUSTER_TRAINING_IMAGE", "registry.test:5000/orrery/training")
    monkeypatch.setenv("ORRERY_CLUSTER_SERVING_IMAGE", "orrery/serving:latest")

    answer = [each for each in findings() if each.state == "warning"]

    assert [each.name for each in answer] == [
        "ORRERY_CLUSTER_TRAINING_IMAGE",
        "ORRERY_CLUSTER_SERVING_IMAGE",
    ]
    assert "orrery/serving:VERSION" in answer[1].todo


@only_double("writes a kubeconfig of its own")
def test_a_server_that_is_away_is_one_finding_and_the_stores_are_looked_at(configured, monkeypatch):
    monkeypatch.setattr(cluster_client, "LONGEST_PAUSE_S", 0.01)
    down = ApiServer("test")
    down.close()
    config = Settings().state / "kubeconfig"
    config.write_text(ClusterSettings().kubeconfig.read_text().replace(of_server(), down.url))
    monkeypatch.setenv("ORRERY_CLUSTER_KUBECONFIG", str(config))

    first, *others = findings()

    assert (first.name, first.state) == ("Kubernetes", "missing")
    assert f"kubectl --kubeconfig {config} get --raw /readyz" in first.commands
    assert {each.name for each in others} == {"clock", "object store", *DATABASES}
    assert {each.state for each in others} == {"ok"}


def of_server():
    (line,) = [
        line for line in ClusterSettings().kubeconfig.read_text().splitlines() if "server:" in line
    ]
    return line.partition("server: ")[2]


def test_without_a_way_in_one_finding_says_how(configured, monkeypatch):
    monkeypatch.delenv("ORRERY_CLUSTER_KUBECONFIG")

    assert the("Kubernetes").state == "missing"
    assert "ORRERY_CLUSTER_KUBECONFIG" in the("Kubernetes").todo


def test_nothing_of_the_probe_stays_in_the_bucket(whole):
    findings()

    (key, _) = buckets.written()[0]
    assert key.startswith("objects/doctor/")
    with pytest.raises(ClientError, match="NoSuchKey"):
        buckets.get(key)


def test_a_bucket_that_is_not_there_is_named(whole, monkeypatch):
    monkeypatch.setenv("ORRERY_OBJECTS", "s3://elsewhere/objects")

    one = the("object store")

    assert one.state == "missing"
    assert "s3://elsewhere/objects" in one.message
    assert "AWS_ENDPOINT_URL" in one.todo


def test_a_store_that_is_away_is_named(whole, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ORRERY_BUCKET_ATTEMPTS", "1")

    states = {each.name: each.state for each in findings()}

    assert (states["clock"], states["object store"]) == ("missing", "missing")


def test_a_clock_that_is_off_is_a_warning(whole, monkeypatch):
    monkeypatch.setattr(store_checks, "_now", lambda: time.time() + 300)

    one = the("clock")

    assert one.state == "warning"
    assert re.search(r"\+(299|30[0-9]) s from", one.message)
    assert "NTP" in one.todo


@pytest.mark.parametrize("variable", DATABASES)
def test_a_database_that_does_not_let_in_is_named_without_its_password(
    whole, configured, variable, monkeypatch
):
    monkeypatch.setenv(
        variable, f"postgresql+psycopg://orrery:{PASSWORD}@127.0.0.1:9/there?connect_timeout=1"
    )

    one = the(variable)

    assert one.state == "missing"
    assert "127.0.0.1:9/there" in one.message
    assert "password" in one.todo
    assert PASSWORD not in str([asdict(each) for each in findings()])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "it names no database"),
        ("sqlite:///somewhere.db", "it names no database"),
        (f"postgresql://orrery:{PASSWORD}@127.0.0.1/x", "expected postgresql+psycopg"),
        (f"postgresql+psycopg://orrery:{PASSWORD}@host:port/x", "it is no address"),
        (f"{PASSWORD} is no address", "it is no address"),
    ],
)
def test_a_url_that_cannot_work_is_told_without_its_password(whole, url, said, monkeypatch):
    monkeypatch.setenv("ORRERY_CONTROL", url)
    monkeypatch.setenv(SERVICE_HOST, "10.96.0.1")

    one = the("ORRERY_CONTROL")

    assert one.state == "missing"
    assert said in one.message
    assert PASSWORD not in one.message + one.todo


def test_an_old_server_is_named_with_the_version_it_must_have(whole, monkeypatch):
    monkeypatch.setattr(store_checks, "OLDEST", 99)

    assert "expected 99 or newer" in the("ORRERY_CONTROL").message


def test_an_mlflow_server_that_is_away_is_named_without_its_password(whole, monkeypatch):
    monkeypatch.setenv("ORRERY_MLFLOW_URI", f"http://someone:{PASSWORD}@127.0.0.1:9/mlflow")

    one = the("ORRERY_MLFLOW_URI")

    assert one.state == "missing"
    assert "http://127.0.0.1:9/mlflow" in one.message
    assert PASSWORD not in one.message + one.todo


def test_files_of_a_pod_are_no_object_store(whole, monkeypatch):
    monkeypatch.setenv("ORRERY_OBJECTS", "")
    monkeypatch.setenv(SERVICE_HOST, "10.96.0.1")

    assert "s3://BUCKET" in the("object store").todo


def test_words_of_libraries_are_told_without_secrets(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-long-secret")
    url = "postgresql+psycopg://u:p%40ss-word@host/x?sslpassword=also-secret"

    said = redacted("a-long-secret p@ss-word p%40ss-word also-secret fine", [url])

    assert said == "*** *** *** *** fine"


def orrery(*arguments):
    return subprocess.run(
        [sys.executable, "-c", "from api.cli.main import main; main()", "doctor", *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_ends_with_1_where_something_is_missing(whole):
    well = orrery("--json")
    whole.api.delete("Secret", "orrery-engines")
    ill = orrery("--json")

    assert (well.returncode, ill.returncode) == (0, 1), well.stderr + ill.stderr
    assert {each["state"] for each in json.loads(well.stdout)} == {"ok"}
    (one,) = [each for each in json.loads(ill.stdout) if each["state"] != "ok"]
    assert one.keys() == {"name", "state", "message", "todo", "commands"}
    assert PASSWORD not in ill.stdout + ill.stderr


def test_without_a_cluster_the_machine_is_looked_at(settings):
    names = {each.name: each for each in findings()}

    assert {"state folder", "gateway", "router", "disk", "cores", "engines"} <= names.keys()
    assert names["engines"].state == names["state folder"].state == "ok"


def test_a_port_that_another_program_has_is_named(settings, monkeypatch):
    server = ApiServer("test")
    monkeypatch.setenv("ORRERY_PORT", server.url.rpartition(":")[2])

    one = the("gateway")
    server.close()

    assert one.state == "missing"
    assert "ORRERY_PORT" in one.todo
