"""A platform for the doctor to examine: its configuration, its objects, and the findings."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploy.doctor.examination import examine
from resources.kubernetes_api.pod_template import GPU
from resources.kubernetes_api.settings import ClusterSettings
from resources.settings import Settings
from tests import buckets
from tests.cluster.real_cluster import IS_REAL
from tests.control import new_database
from tests.waiting import until

DATABASES = ("ORRERY_DAGSTER_STORAGE", "ORRERY_MLFLOW_URI", "ORRERY_CONTROL")
SECRETS = ("orrery-secrets", "orrery-engines", "orrery-bucket")
PASSWORD = "correct-horse-battery"


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
    return variables


@pytest.fixture
def whole(configured, cluster):
    """A cluster that lacks nothing."""
    if IS_REAL:
        pytest.skip("what a cluster lacks is only known of the double")
    for thing in objects(cluster.namespace):
        cluster.api.create(thing)
    for node in cluster.api.list("Node"):
        amount = {"allocatable": {**node["status"]["allocatable"], GPU: "2"}}
        cluster.api.patch_status("Node", node["metadata"]["name"], amount)
    until(lambda: not [each for each in findings() if each.state != "ok"], 20)
    return cluster


def objects(namespace):
    yield named("ConfigMap", "orrery-settings", namespace)
    for name in SECRETS:
        yield {**named("Secret", name, namespace), "stringData": {"PASSWORD": PASSWORD}}
    kueue = "kueue.x-k8s.io/v1beta2"
    yield {**named("ClusterQueue", "all", "", kueue), "spec": {"namespaceSelector": {}}}
    yield {**named("LocalQueue", "training", namespace, kueue), "spec": {"clusterQueue": "all"}}
    yield {**named("WorkloadPriorityClass", "high", "", kueue), "value": 10}
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    yield {
        **named("Gateway", "public", namespace, "gateway.networking.k8s.io/v1"),
        "spec": {"gatewayClassName": "eg", "listeners": listeners},
    }
    storage = named("StorageClass", "standard", "", "storage.k8s.io/v1")
    storage["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    yield {**storage, "provisioner": "test"}


def named(kind, name, namespace, version="v1"):
    where = {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **where}}


def findings():
    return list(examine(Settings(), ClusterSettings()))


def the(name):
    (one,) = [each for each in findings() if each.name == name]
    return one
