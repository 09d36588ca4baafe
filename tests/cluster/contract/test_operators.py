"""What Kueue and a Gateway do."""

import pytest
from kubernetes.client import ApiException

from tests.cluster.kube import KUEUE, SLEEP, Kube, job
from tests.waiting import until

QUEUED = {"kueue.x-k8s.io/queue-name": "queue"}
CLEANED = {"shutdownAfterJobFinishes": True}


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
    kube.cluster.api.create(kueue("ResourceFlavor", flavor))
    spec = {"namespaceSelector": {}, "resourceGroups": [group]}
    kube.cluster.api.create(kueue("ClusterQueue", cluster, spec))
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


def workload(kube: Kube) -> dict:
    """The only Workload."""
    result = kube.custom.list_namespaced_custom_object(
        namespace=kube.namespace, plural="workloads", **KUEUE
    )["items"]
    return result[0] if result else {}


def condition(kube: Kube, kind: str) -> tuple[str, str] | None:
    """Status and reason of a condition of the only Workload."""
    result = (workload(kube).get("status") or {}).get("conditions") or ()
    return next(((c["status"], c["reason"]) for c in result if c["type"] == kind), None)


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
    until(lambda: queue.ray_state("r") == "Suspended")
    queue.batch.delete_namespaced_job("j", queue.namespace, propagation_policy="Background")
    until(lambda: queue.ray_state("r") == "Complete")


def test_a_queued_ray_job_must_clean_up(queue: Kube):
    with pytest.raises(ApiException, match="shutdownAfterJobFinishes") as caught:
        queue.create_ray_job("r", "pass", QUEUED)
    assert caught.value.status == 403


def test_a_preempted_ray_job_waits_and_runs_again(queue: Kube):
    queue.cluster.require("faults")
    queue.create_ray_job("r", SLEEP, QUEUED, **CLEANED)
    until(lambda: queue.ray_state("r") == "Running")
    queue.cluster.kueue.preempt("r")
    until(lambda: queue.ray_state("r") == "Suspended")
    assert condition(queue, "Evicted") == ("True", "Preempted")
    queue.cluster.kueue.release()
    until(lambda: queue.ray_state("r") == "Running")
    assert condition(queue, "Evicted")[0] == "False"


def test_a_deactivated_workload_gives_its_pods_back(queue: Kube):
    queue.create_ray_job("r", SLEEP, QUEUED, **CLEANED)
    until(lambda: queue.ray_state("r") == "Running")
    queue.custom.patch_namespaced_custom_object(
        namespace=queue.namespace,
        plural="workloads",
        name=workload(queue)["metadata"]["name"],
        body={"spec": {"active": False}},
        **KUEUE,
    )
    until(lambda: queue.ray_state("r") == "Suspended")
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
