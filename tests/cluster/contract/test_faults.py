"""What a test can break, and that nothing is left behind."""

import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest
import urllib3
from kubernetes import client, watch
from kubernetes.client import ApiException

from tests.cluster.double.nodes.images import ImagePlan
from tests.cluster.fixtures import TestCluster
from tests.cluster.kube import SLEEP, Kube, config_map, pod
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("breakable")


@pytest.fixture
def breakable(cluster) -> None:
    cluster.require("faults")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_requests_fail_as_often_as_asked(kube: Kube, status: int):
    kube.cluster.api.fail(status, 2, method="GET", path="/configmaps", retry_after=1)
    url = f"{kube.cluster.api.url}/api/v1/namespaces/{kube.namespace}/configmaps"
    answers = [httpx.get(url) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [status, status, 200]
    assert answers[0].headers["Retry-After"] == "1"
    assert answers[0].json()["kind"] == "Status"
    path = f"/api/v1/namespaces/{kube.namespace}/configmaps"
    assert kube.cluster.api.requests[-2:] == [("GET", path, status), ("GET", path, 200)]


def test_answers_come_late(kube: Kube):
    kube.cluster.api.delay(0.2, path="/version")
    started = time.monotonic()
    client.VersionApi(kube.client).get_code()
    assert time.monotonic() - started >= 0.2


def test_a_watch_is_cut_in_mid_stream(kube: Kube):
    seen: list[str] = []

    def follow() -> None:
        listing = kube.core.list_namespaced_config_map
        for event in watch.Watch().stream(listing, kube.namespace, timeout_seconds=30):
            seen.append(event["object"].metadata.name)

    caught: list[Exception] = []

    def guarded() -> None:
        try:
            follow()
        except urllib3.exceptions.HTTPError as error:
            caught.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    kube.core.create_namespaced_config_map(kube.namespace, config_map("m", {}))
    until(lambda: "m" in seen)
    kube.cluster.api.break_watches()
    thread.join(10)
    assert not thread.is_alive()
    assert len(caught) == 1


def test_a_followed_log_is_cut_in_mid_stream(kube: Kube):
    kube.create_pod("p", "import time; print('up'); time.sleep(600)")
    until(lambda: kube.phase("p") == "Running" and kube.log("p"))
    answer = kube.core.read_namespaced_pod_log(
        "p", kube.namespace, follow=True, _preload_content=False
    )
    lines = answer.stream()
    assert next(lines) == b"up\n"
    kube.cluster.api.break_watches()
    with pytest.raises(urllib3.exceptions.HTTPError):
        next(lines)


def test_the_clock_of_the_server_is_off(kube: Kube):
    kube.cluster.api.skew(3600)
    created = kube.core.create_namespaced_config_map(kube.namespace, config_map("m", {}))
    assert created.metadata.creation_timestamp.timestamp() - time.time() > 3500


def test_a_denied_verb_is_refused_in_reviews_and_requests(kube: Kube):
    kube.cluster.api.deny("create", "pods")
    attributes = {"verb": "create", "resource": "pods", "namespace": kube.namespace}
    body = client.V1SelfSubjectAccessReview(spec={"resourceAttributes": attributes})
    api = client.AuthorizationV1Api(kube.client)
    assert not api.create_self_subject_access_review(body).status.allowed
    with pytest.raises(ApiException) as caught:
        kube.create_pod("p", SLEEP)
    assert caught.value.status == 403


def test_a_job_moves_from_a_lost_node(kube: Kube):
    kube.create_job("j", SLEEP, backoffLimit=1)
    (first,) = until(lambda: [p for p in kube.pods("job-name=j") if p.status.phase == "Running"])
    kube.cluster.kubelet.lose_node(first.spec.node_name)
    until(lambda: first.metadata.uid not in [p.metadata.uid for p in kube.pods("job-name=j")])
    (second,) = until(lambda: [p for p in kube.pods("job-name=j") if p.status.phase == "Running"])
    assert second.spec.node_name != first.spec.node_name
    node = kube.core.read_node(first.spec.node_name)
    assert {c.type: c.status for c in node.status.conditions}["Ready"] == "Unknown"


def test_pods_wait_while_nothing_is_scheduled(kube: Kube):
    kube.cluster.kubelet.pause()
    kube.create_pod("p", "pass")
    until(lambda: "FailedScheduling" in kube.events("p"))
    assert kube.phase("p") == "Pending"
    kube.cluster.kubelet.resume()
    until(lambda: kube.phase("p") == "Succeeded")


def test_an_image_can_be_pushed_late(kube: Kube):
    kube.create_pod("p", "import os; print(os.environ['COLOR'])", image="late:1")
    until(lambda: kube.container("p") and kube.container("p").state.waiting)
    kube.cluster.kubelet.images["^late:"] = ImagePlan(env={"COLOR": "red"})
    until(lambda: kube.phase("p") == "Succeeded")
    assert kube.log("p") == "red\n"


def test_nothing_outlives_a_cluster():
    threads = set(threading.enumerate())
    with TestCluster() as cluster:
        deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
        cluster.api.create(pod("p", deaf))
        until(lambda: cluster.api.get("Pod", "p")["status"]["phase"] == "Running")
        (pid,) = cluster.kubelet.pids("p")
        folder, url = cluster.kubeconfig.parent, cluster.api.url
    assert not psutil.pid_exists(pid)
    assert not Path(folder).exists()
    assert set(threading.enumerate()) <= threads
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_cluster_starts_fast_and_idles_cheaply():
    started = time.monotonic()
    with TestCluster():
        assert time.monotonic() - started < 0.3
        used = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - used < 0.05
