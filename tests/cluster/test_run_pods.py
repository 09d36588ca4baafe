"""Run pods that cannot start: what is said of them, what they wait for, and their end."""

import pytest
from dagster import DagsterRun
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import construct_dagster_k8s_job, get_job_name_from_run_id
from kubernetes.client import ApiClient

from resources.kubernetes_api.client import Cluster
from resources.kubernetes_api.settings import ClusterSettings
from resources.orchestration import run_pods
from resources.orchestration.cluster_launcher import ClusterLauncher
from resources.orchestration.run_coordinator import AttributingCoordinator
from resources.orchestration.run_pods import RunPods
from tests.cluster.fixtures import PYTHON_IMAGE
from tests.waiting import until

START_S = 0.0
SLEEP = ["python", "-uc", "import time; time.sleep(600)"]


@pytest.fixture
def settings(cluster):
    for kind, name in (("ConfigMap", "orrery-settings"), ("Secret", "orrery-secrets")):
        metadata = {"name": name, "namespace": cluster.namespace}
        cluster.api.create({"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {}})
    account = {"name": "orrery-run", "namespace": cluster.namespace}
    cluster.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    return ClusterSettings(
        namespace=cluster.namespace,
        kubeconfig=cluster.kubeconfig,
        control_image=PYTHON_IMAGE,
    )


@pytest.fixture
def pods(settings, monkeypatch) -> RunPods:
    monkeypatch.setattr(run_pods, "SEEN_S", 0.0)
    return RunPods(Cluster(settings))


def launch(settings: ClusterSettings, **spec) -> str:
    """A dagster_run whose Job is made as the launcher makes it; its pod sleeps."""
    run = DagsterRun(job_name="turn")
    launcher = ClusterLauncher.of(settings, None)
    context = K8sContainerContext.create_for_run(run, launcher, include_run_tags=False)
    job = construct_dagster_k8s_job(
        context.get_k8s_job_config(settings.control_image, launcher),
        args=SLEEP,
        job_name=get_job_name_from_run_id(run.run_id),
        user_defined_k8s_config=context.run_k8s_config,
        labels={"dagster/run-id": run.run_id},
    )
    made = {"apiVersion": "batch/v1", "kind": "Job", **ApiClient().sanitize_for_serialization(job)}
    made["spec"]["template"]["spec"] |= spec
    Cluster(settings).create(made)
    return run.run_id


def quota(cluster, **hard: str) -> None:
    cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "small", "namespace": cluster.namespace},
            "spec": {"hard": {name.replace("_", "."): amount for name, amount in hard.items()}},
        }
    )


def pod_of(cluster, run_id):
    found = cluster.api.list("Pod", cluster.namespace, f"dagster/run-id={run_id}")
    return found[0] if found else None


def runs(cluster, run_id):
    pod = pod_of(cluster, run_id)
    return pod is not None and pod["status"].get("phase") == "Running"


def test_nothing_keeps_a_pod_that_runs(cluster, settings, pods):
    run_id = launch(settings)
    until(lambda: runs(cluster, run_id))
    assert pods.trouble_of(run_id) == pods.outage() == ""
    assert not pods.waits_for_room(run_id, START_S)
    assert pods.has_room()


def test_a_pod_that_a_quota_refuses_says_so_and_waits_for_room(cluster, settings, pods):
    quota(cluster, limits_memory="1Mi")
    run_id = launch(settings)
    said = until(lambda: pods.trouble_of(run_id))
    assert "exceeded quota: small" in said
    assert pods.waits_for_room(run_id, START_S)


def test_a_quota_of_cpu_limits_is_said_until_limits_are_set(cluster, settings, pods):
    quota(cluster, limits_cpu="4")
    run_id = launch(settings)
    assert "must specify limits.cpu" in until(lambda: pods.trouble_of(run_id))
    # More room would not help it.
    assert not pods.waits_for_room(run_id, START_S)

    limited = launch(settings.model_copy(update={"cpu_limits": True}))
    until(lambda: runs(cluster, limited))


def test_a_pod_without_a_node_says_so_and_no_other_is_let_go(cluster, settings, pods):
    run_id = launch(settings, nodeSelector={"disk": "none"})
    until(lambda: "has no node" in pods.trouble_of(run_id))
    assert pods.waits_for_room(run_id, START_S)
    queue = AttributingCoordinator(max_concurrent_runs=8, has_room=pods.has_room)
    assert queue.get_run_queue_config().max_concurrent_runs == 0


def test_a_pod_that_has_just_been_given_its_node_has_time_to_start(cluster, settings, pods):
    run_id = launch(settings)
    until(lambda: runs(cluster, run_id))
    assert pods.waits_for_room(run_id, 300.0)
    assert not pods.waits_for_room(run_id, 0.0)


def test_the_pod_of_a_step_without_a_node_holds_up_no_dagster_run(cluster, settings, pods):
    run_id = launch(settings, nodeSelector={"disk": "none"})
    until(lambda: not pods.has_room())
    # As dagster_k8s labels the pods of steps, which have the labels of run pods besides.
    name = pod_of(cluster, run_id)["metadata"]["name"]
    cluster.api.patch("Pod", name, {"metadata": {"labels": {"dagster/op": "rows"}}})
    assert pods.has_room()


def test_one_look_serves_all_jobs(cluster, settings, monkeypatch):
    monkeypatch.setattr(run_pods, "SEEN_S", 60.0)
    pods = RunPods(Cluster(settings))
    before = len(cluster.api.requests)
    for number in range(20):
        assert pods.trouble_of(f"{number}") == pods.outage() == ""
    assert len(cluster.api.requests) - before == 2


def test_a_job_that_may_not_be_deleted_keeps_no_other(cluster, settings, pods):
    for _ in range(2):
        launch(settings)
    cluster.api.fail(403, times=1, method="DELETE", path="jobs")
    assert len(pods.end_abandoned(lambda run_id: False)) == 1


def test_a_pod_whose_image_cannot_be_pulled_says_so_and_is_bound_by_the_limit(
    cluster, settings, pods
):
    run_id = launch(settings.model_copy(update={"control_image": "nowhere:1"}))
    until(lambda: "ImagePull" in pods.trouble_of(run_id))
    assert not pods.waits_for_room(run_id, START_S)
    assert pods.has_room()


def test_while_the_api_server_is_away_pods_wait_for_it(cluster, settings, pods):
    run_id = launch(settings)
    cluster.api.leave(hanging=False)
    try:
        assert "does not answer" in pods.trouble_of(run_id)
        assert "does not answer" in pods.outage()
        assert pods.waits_for_room(run_id, START_S)
        assert pods.has_room()
    finally:
        cluster.api.heal()


def test_the_job_of_a_dagster_run_that_was_given_up_is_deleted_before_it_starts_late(
    cluster, settings, pods
):
    quota(cluster, limits_memory="1Mi")
    given_up = launch(settings)
    until(lambda: pods.trouble_of(given_up))

    assert pods.end_abandoned(lambda run_id: run_id != given_up) == [
        get_job_name_from_run_id(given_up)
    ]
    until(lambda: cluster.api.list("Job", cluster.namespace) == [])


def test_the_job_of_a_dagster_run_under_way_is_left(cluster, settings, pods):
    run_id = launch(settings)
    until(lambda: runs(cluster, run_id))
    assert pods.end_abandoned(lambda each: each == run_id) == []


def test_a_job_that_has_ended_is_no_abandoned_one(cluster, settings, pods):
    run_id = launch(settings)
    until(lambda: runs(cluster, run_id))
    for pid in cluster.kubelet.pids(pod_of(cluster, run_id)["metadata"]["name"]):
        import os
        import signal

        os.kill(pid, signal.SIGKILL)
    name = get_job_name_from_run_id(run_id)

    def failed() -> bool:
        job = cluster.api.list("Job", cluster.namespace)[0]
        conditions = (job.get("status") or {}).get("conditions") or ()
        return any(c["type"] == "Failed" and c["status"] == "True" for c in conditions)

    until(failed)
    assert name not in pods.end_abandoned(lambda each: False)
