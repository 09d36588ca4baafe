"""What KubeRay does with a RayJob, and what it tells of it."""

import time

import pytest

from tests.cluster.kube import RAY_JOBS, SLEEP, Kube, ray_job
from tests.waiting import until

CLEANED = {"shutdownAfterJobFinishes": True}


@pytest.fixture
def ray(kube: Kube) -> Kube:
    kube.cluster.require("kuberay")
    return kube


def test_a_ray_job_runs_its_entrypoint(ray: Kube):
    ray.create_ray_job("r", "import time; time.sleep(0.3)")
    until(lambda: ray.ray_job("r").get("jobStatus") == "RUNNING")
    status = ray.ray_job("r")
    assert status["jobDeploymentStatus"] == "Running"
    assert status["jobId"] and status["startTime"]
    kinds = {p.metadata.labels["ray.io/node-type"] for p in ray.pods("ray.io/cluster")}
    assert kinds == {"head", "worker"}
    until(lambda: ray.ray_state("r") == "Complete")
    status = ray.ray_job("r")
    assert status["jobStatus"] == "SUCCEEDED"
    assert status["endTime"] >= status["startTime"]


def test_a_failing_entrypoint_fails_its_ray_job(ray: Kube):
    ray.create_ray_job("r", "raise SystemExit(3)")
    until(lambda: ray.ray_state("r") == "Failed")
    status = ray.ray_job("r")
    assert (status["jobStatus"], status["reason"]) == ("FAILED", "AppFailed")
    assert "failed with exit code 3" in status["message"]


def test_the_last_words_of_a_driver_are_in_the_message(ray: Kube):
    ray.create_ray_job("r", "print(6 * 7); raise SystemExit(3)")
    until(lambda: ray.ray_state("r") == "Failed")
    assert ray.ray_job("r")["message"].endswith(":\n42\n")


def test_a_job_is_submitted_once_all_pods_are_ready(ray: Kube):
    body = ray_job("r", "pass")
    (group,) = body["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    nowhere = {**group["template"]["spec"], "nodeSelector": {"orrery.test/none": "yes"}}
    group["template"] = {"spec": nowhere}
    ray.custom.create_namespaced_custom_object(namespace=ray.namespace, body=body, **RAY_JOBS)
    (head,) = until(lambda: ray.pods("ray.io/node-type=head"))
    until(lambda: ray.phase(head.metadata.name) == "Running")
    time.sleep(0.5)
    status = ray.ray_job("r")
    assert (status["jobDeploymentStatus"], status["jobStatus"]) == ("Initializing", "")


def test_a_ray_job_tries_again_on_a_new_cluster(ray: Kube):
    ray.create_ray_job("r", "import time; time.sleep(0.2); raise SystemExit(3)", backoffLimit=1)
    first = until(lambda: ray.ray_job("r").get("rayClusterName"))
    until(lambda: ray.ray_job("r").get("rayClusterName") not in (None, "", first))
    until(lambda: ray.ray_state("r") == "Failed")
    assert ray.ray_job("r")["failed"] == 2


def test_a_ray_job_past_its_deadline_fails(ray: Kube):
    ray.create_ray_job("r", SLEEP, activeDeadlineSeconds=1, **CLEANED)
    until(lambda: ray.ray_state("r") == "Failed")
    assert ray.ray_job("r")["reason"] == "DeadlineExceeded"
    until(lambda: not ray.pods("ray.io/cluster"))


def test_a_ray_job_waits_for_quota_to_create_its_pods(ray: Kube):
    ray.cluster.require("faults")
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}}
    ray.core.create_namespaced_resource_quota(ray.namespace, quota)
    ray.create_ray_job("r", SLEEP)
    cluster = until(lambda: ray.ray_job("r").get("rayClusterName"))
    until(lambda: "FailedToCreateWorkerPod" in ray.events(cluster))
    assert len(ray.pods("ray.io/cluster")) == 1
    ray.core.delete_namespaced_resource_quota("q", ray.namespace)
    until(lambda: len(ray.pods("ray.io/cluster")) == 2)


def test_a_head_that_cannot_be_created_is_told_at_the_ray_cluster(ray: Kube):
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}}}
    ray.core.create_namespaced_resource_quota(ray.namespace, quota)
    ray.create_ray_job("r", SLEEP)
    cluster = until(lambda: ray.ray_job("r").get("rayClusterName"))
    until(lambda: "FailedToCreateHeadPod" in ray.events(cluster))
    fields = f"involvedObject.kind=RayCluster,involvedObject.name={cluster}"
    answer = ray.core.list_namespaced_event(ray.namespace, field_selector=fields).items
    assert "exceeded quota" in next(e.message for e in answer if e.type == "Warning")
    assert not [reason for reason in ray.events("r") if reason.startswith("FailedToCreate")]


def test_pods_of_a_ray_job_name_their_ray_cluster_and_not_their_ray_job(ray: Kube):
    ray.create_ray_job("r", SLEEP)
    until(lambda: len(ray.pods("ray.io/cluster")) == 2)
    cluster = ray.ray_job("r")["rayClusterName"]
    (head,) = ray.pods(f"ray.io/cluster={cluster},ray.io/node-type=head")
    labels = {key: each for key, each in head.metadata.labels.items() if "ray.io/" in key}
    assert labels == {
        "ray.io/cluster": cluster,
        "ray.io/node-type": "head",
        "ray.io/group": "headgroup",
        "ray.io/identifier": f"{cluster}-head",
        "ray.io/is-ray-node": "yes",
    }
    result = ray.custom.get_namespaced_custom_object(
        namespace=ray.namespace, name=cluster, **{**RAY_JOBS, "plural": "rayclusters"}
    )
    assert result["metadata"]["labels"]["ray.io/originated-from-cr-name"] == "r"
    assert result["metadata"]["labels"]["ray.io/originated-from-crd"] == "RayJob"


def test_labels_and_annotations_of_a_template_are_on_its_pods(ray: Kube):
    body = ray_job("r", SLEEP)
    meta = {"labels": {"team": "blue"}, "annotations": {"why": "training"}}
    body["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["metadata"] = meta
    ray.custom.create_namespaced_custom_object(namespace=ray.namespace, body=body, **RAY_JOBS)
    (head,) = until(lambda: ray.pods("team=blue,ray.io/node-type=head"))
    assert head.metadata.annotations["why"] == "training"


def test_a_finished_ray_job_outlives_its_pods(ray: Kube):
    ray.create_ray_job("r", "pass", ttlSecondsAfterFinished=1, **CLEANED)
    until(lambda: ray.ray_state("r") == "Complete")
    until(lambda: not ray.pods("ray.io/cluster"))
    assert ray.ray_state("r") == "Complete"


def test_a_deleted_ray_job_takes_its_pods(ray: Kube):
    ray.create_ray_job("r", SLEEP)
    until(lambda: ray.ray_state("r") == "Running")
    ray.custom.delete_namespaced_custom_object(namespace=ray.namespace, name="r", **RAY_JOBS)
    until(lambda: not ray.pods("ray.io/cluster"))


def test_a_ray_job_that_keeps_its_cluster_cannot_be_suspended(ray: Kube):
    ray.create_ray_job("r", "pass", suspend=True)
    until(lambda: ray.ray_state("r") == "ValidationFailed")
