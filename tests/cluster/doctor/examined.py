"""A platform for the doctor to examine: its configuration, its objects, and the findings."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploy.doctor.examination import examine
from deploy.doctor.vantage import SERVICE_HOST
from resources.kubernetes_api.pod_template import GPU
from resources.kubernetes_api.settings import ClusterSettings
from resources.settings import Settings
from tests import buckets
from tests.cluster.real_cluster import IS_REAL
from tests.control import new_database
from tests.waiting import until

RUN_DATABASES = ("ORRERY_DAGSTER_STORAGE", "ORRERY_MLFLOW_URI")
DATABASES = (*RUN_DATABASES, "ORRERY_CONTROL")
BUCKET = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
SECRETS = {
    "orrery-secrets": (*RUN_DATABASES, *BUCKET),
    "orrery-control": ("ORRERY_CONTROL",),
    "orrery-engines": ("ORRERY_MLFLOW_URI", *BUCKET),
    "orrery-bucket": BUCKET,
    "orrery-instance": ("secret",),
}
"""Keys of each Secret."""
OPERATORS = {
    "KubeRay": ("kuberay-operator", "kuberay-operator", "app.kubernetes.io/name=kuberay-operator"),
    "Kueue": (
        "kueue-system",
        "kueue-controller-manager",
        "app.kubernetes.io/name=kueue,control-plane=controller-manager",
    ),
    "Gateway controller": (
        "envoy-gateway-system",
        "envoy-gateway",
        "control-plane=envoy-gateway",
    ),
    "KEDA": ("keda", "keda-operator", "app.kubernetes.io/name=keda-operator"),
}
"""Namespace, name and labels of the Deployment of each operator."""
ENTERS = {"orrery/enters": "true"}
RUNS_RAY = {"orrery/runs-ray": "true"}
PASSWORD = "correct-horse-battery"
ENCODED = base64.b64encode(PASSWORD.encode()).decode()


class Prometheus:
    """Answers every query with a number of series, or with something else."""

    def __init__(self) -> None:
        self.series, self.status = 3, 200
        self.queries: list[str] = []
        prometheus = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                prometheus.queries.append(self.path)
                results = [{"metric": {}, "value": [0, str(prometheus.series)]}]
                result = results if prometheus.series else []
                self.send_response(prometheus.status)
                self.end_headers()
                self.wfile.write(json.dumps({"data": {"result": result}}).encode())

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    created = Prometheus()
    yield created
    created.close()


@pytest.fixture
def configured(settings, cluster, postgresql, prometheus, monkeypatch):
    """Variables of a platform that lacks nothing."""
    bucket = buckets.make_bucket(monkeypatch)
    variables = {
        **{name: new_database(postgresql) for name in DATABASES},
        "ORRERY_OBJECTS": f"{bucket}/objects",
        "ORRERY_CLUSTER_NAMESPACE": cluster.namespace,
        "ORRERY_CLUSTER_KUBECONFIG": str(cluster.kubeconfig),
        "ORRERY_CLUSTER_QUEUE": "training",
        "ORRERY_CLUSTER_GATEWAY": f"{cluster.namespace}/public",
        "ORRERY_CLUSTER_AUTOSCALER": "keda",
        "ORRERY_CLUSTER_PROMETHEUS_URL": prometheus.url,
        **{
            f"ORRERY_CLUSTER_{image}_IMAGE": f"orrery/{image.lower()}:0.1.0"
            for image in ("CONTROL", "TRAINING", "SERVING")
        },
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(SERVICE_HOST, raising=False)
    return variables


@pytest.fixture
def whole(configured, cluster):
    """A cluster that lacks nothing."""
    if IS_REAL:
        pytest.skip("what a cluster lacks is only known of the double")
    for thing in (*objects(cluster.namespace), *operators()):
        cluster.api.create(thing)
    for node in cluster.api.list("Node"):
        amount = {"allocatable": {**node["status"]["allocatable"], GPU: "2"}}
        cluster.api.patch_status("Node", node["metadata"]["name"], amount)
    until(lambda: all(map(is_ready, cluster.api.list("Deployment", "*"))), 20)
    until(lambda: not [each for each in findings() if each.state != "ok"], 20)
    return cluster


def objects(namespace):
    yield named("ConfigMap", "orrery-settings", namespace)
    for name, keys in SECRETS.items():
        yield {**named("Secret", name, namespace), "data": dict.fromkeys(keys, ENCODED)}
    yield secret_of_tls(namespace)
    visitors = [{"namespaceSelector": {"matchLabels": label}} for label in (ENTERS, RUNS_RAY)]
    yield {
        **named("NetworkPolicy", "services", namespace, "networking.k8s.io/v1"),
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": visitors}]},
    }
    kueue = "kueue.x-k8s.io/v1beta2"
    yield {**named("ClusterQueue", "all", "", kueue), "spec": {"namespaceSelector": {}}}
    yield {**named("LocalQueue", "training", namespace, kueue), "spec": {"clusterQueue": "all"}}
    yield {**named("WorkloadPriorityClass", "high", "", kueue), "value": 10}
    gateways = "gateway.networking.k8s.io/v1"
    controller = {"controllerName": "gateway.test/controller"}
    yield {**named("GatewayClass", "eg", "", gateways), "spec": controller}
    tls = {"mode": "Terminate", "certificateRefs": [{"name": "orrery-tls"}]}
    listeners = [{"name": "https", "port": 443, "protocol": "HTTPS", "tls": tls}]
    yield {
        **named("Gateway", "public", namespace, gateways),
        "spec": {"gatewayClassName": "eg", "listeners": listeners},
    }
    storage = named("StorageClass", "standard", "", "storage.k8s.io/v1")
    storage["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    yield {**storage, "provisioner": "test"}


def secret_of_tls(namespace):
    keys = dict.fromkeys(("tls.crt", "tls.key"), ENCODED)
    kind = "kubernetes.io/tls"
    return {**named("Secret", "orrery-tls", namespace), "type": kind, "data": keys}


def operators():
    """Namespaces and Deployments of the operators."""
    for name, (namespace, deployment, labels) in OPERATORS.items():
        space = named("Namespace", namespace, "")
        labels_of = {"KubeRay": RUNS_RAY, "Gateway controller": ENTERS}
        if name in labels_of:
            space["metadata"]["labels"] = dict(labels_of[name])
        yield space
        yield operator(deployment, namespace, labels)


def operator(name, namespace, labels, image="operators/controller:1"):
    """The Deployment of an operator; its labels are a selector's."""
    selected = dict(label.split("=") for label in labels.split(","))
    deployment = named("Deployment", name, namespace, "apps/v1")
    deployment["metadata"]["labels"] = selected
    pods = {
        "metadata": {"labels": selected},
        "spec": {
            "containers": [{"name": "manager", "image": image}],
            "terminationGracePeriodSeconds": 0,
        },
    }
    return {**deployment, "spec": {"selector": {"matchLabels": selected}, "template": pods}}


def is_ready(deployment):
    return (deployment.get("status") or {}).get("readyReplicas", 0) == deployment["spec"][
        "replicas"
    ]


def named(kind, name, namespace, version="v1"):
    where = {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **where}}


def findings():
    return list(examine(Settings(), ClusterSettings()))


def the(name):
    (one,) = [each for each in findings() if each.name == name]
    return one


def unwell():
    """Names of the findings that are not well, with their states."""
    return {each.name: each.state for each in findings() if each.state != "ok"}
