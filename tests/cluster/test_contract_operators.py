"""What KubeRay, Kueue, and a Gateway do."""

import pytest
from kubernetes.client import ApiException

from tests.cluster.kube import KUEUE, RAY_JOBS, SLEEP, Kube, job, ray_job
from tests.waiting import until

QUEUED = {"kueue.x-k8s.io/queue-name": "queue"}
CLEANED = {"shutdownAfterJobFinishes": True}


@pytest.fixture
def ray(kube: Kube) -> Kube:
    kube.cluster.require("kuberay")
    return kube


@pytest.fixture
def queue(kube: Kube) -> Kube:
    """A namespace with a queue for two pods."""
    kube.cluster.require("kueue")
    flavor, cluster = f"flavor-{kube.namespace}", f"queue-{kube.namespace}"
    quota = [{"name": "pods", "nominalQuota": 2}]
    group = {
        "coveredResources": ["pods"],
        "flavors": [{"name": flavor, "resources": quota}],
    }
    create = kube.custom.create_cluster_custom_object
    create(plural="resourceflavors", body=kueue("ResourceFlavor", flavor), **KUEUE)
    spec = {"namespaceSelector": {}, "resourceGroups": [group]}
    create(plural="clusterqueues", body=kueue("ClusterQueue", cluster, spec), **KUEUE)
    kube.custom.create_namespaced_custom_object(
        namespace=kube.namespace,
        plural="localqueues",
        body=kueue("LocalQueue", "queue", {"clusterQueue": cluster}),
        **KUEUE,
    )
    return kube


def kueue(kind: str, name: str, spec: dict | None = None) -> dict:
    version = f"{KUEUE['group']}/{KUEUE['version']}"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec or {}}


def state(kube: Kube, name: str) -> str | None:
    return kube.ray_job(name).get("jobDeploymentStatus")


def workload(kube: Kube) -> dict:
    """The only Workload."""
    found = kube.custom.list_namespaced_custom_object(
        namespace=kube.namespace, plural="workloads", **KUEUE
    )["items"]
    return found[0] if found else {}


def condition(kube: Kube, kind: str) -> tuple[str, str] | None:
    """Status and reason of a condition of the only Workload."""
    found = (workload(kube).get("status") or {}).get("conditions") or ()
    return next(((c["status"], c["reason"]) for c in found if c["type"] == kind), None)


def test_a_ray_job_runs_its_entrypoint(ray: Kube):
    ray.create_ray_job("r", "import time; time.sleep(0.3)")
    until(lambda: state(ray, "r") == "Running")
    status = ray.ray_job("r")
    assert status["jobStatus"] == "RUNNING"
    assert status["jobId"] and status["startTime"]
    kinds = {p.metadata.labels["ray.io/node-type"] for p in ray.pods("ray.io/cluster")}
    assert kinds == {"head", "worker"}
    until(lambda: state(ray, "r") == "Complete")
    status = ray.ray_job("r")
    assert status["jobStatus"] == "SUCCEEDED"
    assert status["endTime"] >= status["startTime"]


def test_a_ray_job_has_the_variables_of_its_runtime(ray: Kube):
    ray.cluster.require("faults")
    code = "import os; print(os.environ[chr(65)])"
    ray.create_ray_job("r", code, runtimeEnvYAML="env_vars:\n  A: '7'\n")
    until(lambda: state(ray, "r") == "Complete")
    (head,) = ray.pods("ray.io/node-type=head")
    assert ray.log(head.metadata.name) == "7\n"


def test_a_failing_entrypoint_fails_its_ray_job(ray: Kube):
    ray.create_ray_job("r", "raise SystemExit(3)")
    until(lambda: state(ray, "r") == "Failed")
    status = ray.ray_job("r")
    assert (status["jobStatus"], status["reason"]) == ("FAILED", "AppFailed")


def test_a_ray_job_tries_again_on_a_new_cluster(ray: Kube):
    ray.create_ray_job("r", "import time; time.sleep(0.2); raise SystemExit(3)", backoffLimit=1)
    first = until(lambda: ray.ray_job("r").get("rayClusterName"))
    until(lambda: ray.ray_job("r").get("rayClusterName") not in (None, "", first))
    until(lambda: state(ray, "r") == "Failed")
    assert ray.ray_job("r")["failed"] == 2


def test_a_ray_job_past_its_deadline_fails(ray: Kube):
    ray.create_ray_job("r", SLEEP, activeDeadlineSeconds=1, **CLEANED)
    until(lambda: state(ray, "r") == "Failed")
    assert ray.ray_job("r")["reason"] == "DeadlineExceeded"
    until(lambda: not ray.pods("ray.io/cluster"))


def test_a_ray_job_without_its_head_fails(ray: Kube):
    ray.create_ray_job("r", SLEEP)
    until(lambda: state(ray, "r") == "Running")
    (head,) = ray.pods("ray.io/node-type=head")
    ray.core.delete_namespaced_pod(head.metadata.name, ray.namespace)
    until(lambda: state(ray, "r") == "Failed")
    assert ray.ray_job("r")["reason"] in ("AppFailed", "JobStatusCheckTimeoutExceeded")


def test_a_ray_job_survives_a_lost_node_by_its_limit(ray: Kube):
    ray.cluster.require("faults")
    ray.create_ray_job("r", SLEEP, backoffLimit=1)
    until(lambda: state(ray, "r") == "Running")
    first = ray.ray_job("r")["rayClusterName"]
    (head,) = ray.pods("ray.io/node-type=head")
    ray.cluster.kubelet.lose_node(head.spec.node_name)
    until(lambda: ray.ray_job("r").get("rayClusterName") not in (None, "", first))
    until(lambda: state(ray, "r") == "Running")


def test_a_suspended_ray_job_gives_its_pods_back_and_starts_anew(ray: Kube):
    ray.create_ray_job("r", SLEEP, **CLEANED)
    until(lambda: state(ray, "r") == "Running")
    first = ray.ray_job("r")["jobId"]
    ray.patch_ray_job("r", {"suspend": True})
    until(lambda: state(ray, "r") == "Suspended")
    assert not ray.pods("ray.io/cluster")
    ray.patch_ray_job("r", {"suspend": False})
    until(lambda: state(ray, "r") == "Running")
    assert ray.ray_job("r")["jobId"] != first


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
    told = ray.core.list_namespaced_event(ray.namespace, field_selector=fields).items
    assert "exceeded quota" in next(e.message for e in told if e.type == "Warning")
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
    found = ray.custom.get_namespaced_custom_object(
        namespace=ray.namespace, name=cluster, **{**RAY_JOBS, "plural": "rayclusters"}
    )
    assert found["metadata"]["labels"]["ray.io/originated-from-cr-name"] == "r"
    assert found["metadata"]["labels"]["ray.io/originated-from-crd"] == "RayJob"


def test_labels_and_annotations_of_a_template_are_on_its_pods(ray: Kube):
    body = ray_job("r", SLEEP)
    meta = {"labels": {"team": "blue"}, "annotations": {"why": "training"}}
    body["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["metadata"] = meta
    ray.custom.create_namespaced_custom_object(namespace=ray.namespace, body=body, **RAY_JOBS)
    (head,) = until(lambda: ray.pods("team=blue,ray.io/node-type=head"))
    assert head.metadata.annotations["why"] == "training"


def test_a_finished_ray_job_outlives_its_pods(ray: Kube):
    ray.create_ray_job("r", "pass", ttlSecondsAfterFinished=1, **CLEANED)
    until(lambda: state(ray, "r") == "Complete")
    until(lambda: not ray.pods("ray.io/cluster"))
    assert state(ray, "r") == "Complete"


def test_a_deleted_ray_job_takes_its_pods(ray: Kube):
    ray.create_ray_job("r", SLEEP)
    until(lambda: state(ray, "r") == "Running")
    ray.custom.delete_namespaced_custom_object(namespace=ray.namespace, name="r", **RAY_JOBS)
    until(lambda: not ray.pods("ray.io/cluster"))


def test_a_ray_job_that_keeps_its_cluster_cannot_be_suspended(ray: Kube):
    ray.create_ray_job("r", "pass", suspend=True)
    until(lambda: state(ray, "r") == "ValidationFailed")


def test_a_queued_job_waits_for_a_queue_that_exists(kube: Kube):
    kube.cluster.require("kueue")
    kube.create_job("j", "pass", QUEUED)
    until(lambda: condition(kube, "QuotaReserved") == ("False", "Inadmissible"))
    assert kube.batch.read_namespaced_job("j", kube.namespace).spec.suspend


def test_a_queued_job_is_admitted_and_finishes(queue: Kube):
    queue.create_job("j", "pass", QUEUED)
    until(lambda: queue.job_condition("j", "Complete"))
    until(lambda: condition(queue, "Finished"))
    assert condition(queue, "Admitted")[0] == "True"
    assert workload(queue)["metadata"]["ownerReferences"][0]["name"] == "j"


def test_a_queued_ray_job_runs_once_there_is_room(queue: Kube):
    queue.cluster.require("kuberay")
    queue.create_job("j", SLEEP, QUEUED)
    until(lambda: queue.pods("job-name=j"))
    queue.create_ray_job("r", "pass", QUEUED, **CLEANED)
    until(lambda: state(queue, "r") == "Suspended")
    queue.batch.delete_namespaced_job("j", queue.namespace, propagation_policy="Background")
    until(lambda: state(queue, "r") == "Complete")


def test_a_queued_ray_job_must_clean_up(queue: Kube):
    with pytest.raises(ApiException, match="shutdownAfterJobFinishes") as caught:
        queue.create_ray_job("r", "pass", QUEUED)
    assert caught.value.status == 403


def test_a_preempted_ray_job_waits_and_runs_again(queue: Kube):
    queue.cluster.require("faults")
    queue.create_ray_job("r", SLEEP, QUEUED, **CLEANED)
    until(lambda: state(queue, "r") == "Running")
    queue.cluster.kueue.preempt("r")
    until(lambda: state(queue, "r") == "Suspended")
    assert condition(queue, "Evicted") == ("True", "Preempted")
    queue.cluster.kueue.release()
    until(lambda: state(queue, "r") == "Running")
    assert condition(queue, "Evicted")[0] == "False"


def test_a_deactivated_workload_gives_its_pods_back(queue: Kube):
    queue.create_ray_job("r", SLEEP, QUEUED, **CLEANED)
    until(lambda: state(queue, "r") == "Running")
    queue.custom.patch_namespaced_custom_object(
        namespace=queue.namespace,
        plural="workloads",
        name=workload(queue)["metadata"]["name"],
        body={"spec": {"active": False}},
        **KUEUE,
    )
    until(lambda: state(queue, "r") == "Suspended")
    assert condition(queue, "Evicted") == ("True", "Deactivated")


def test_nothing_is_admitted_while_the_queue_is_held(queue: Kube):
    queue.cluster.require("faults")
    queue.cluster.kueue.hold()
    queue.batch.create_namespaced_job(queue.namespace, job("j", "pass", QUEUED))
    until(lambda: condition(queue, "QuotaReserved") == ("False", "Pending"))
    queue.cluster.kueue.release()
    until(lambda: queue.job_condition("j", "Complete"))


def test_a_route_to_a_missing_service_is_not_resolved(kube: Kube):
    kube.cluster.require("faults")
    group = {"group": "gateway.networking.k8s.io", "version": "v1", "namespace": kube.namespace}
    version = "gateway.networking.k8s.io/v1"
    route = {
        "apiVersion": version,
        "kind": "HTTPRoute",
        "metadata": {"name": "r"},
        "spec": {
            "parentRefs": [{"name": "g"}],
            "rules": [{"backendRefs": [{"name": "late", "port": 80}]}],
        },
    }
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    gateway = {"apiVersion": version, "kind": "Gateway", "metadata": {"name": "g"}}
    gateway["spec"] = {"gatewayClassName": "c", "listeners": [listener]}
    create = kube.custom.create_namespaced_custom_object
    create(plural="gateways", body=gateway, **group)
    create(plural="httproutes", body=route, **group)

    def resolved() -> dict[str, str]:
        read = kube.custom.get_namespaced_custom_object
        parents = read(plural="httproutes", name="r", **group).get("status", {}).get("parents")
        return {c["type"]: c["reason"] for c in parents[0]["conditions"]} if parents else {}

    until(lambda: resolved() == {"Accepted": "Accepted", "ResolvedRefs": "BackendNotFound"})
    service = {"metadata": {"name": "late"}, "spec": {"ports": [{"port": 80}]}}
    kube.core.create_namespaced_service(kube.namespace, service)
    until(lambda: resolved() == {"Accepted": "Accepted", "ResolvedRefs": "ResolvedRefs"})
