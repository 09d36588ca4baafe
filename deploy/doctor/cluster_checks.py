"""Checks of a cluster: its server, its kinds, and what the namespace must hold."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from deploy.doctor.build_checks import check_builds
from deploy.doctor.finding import Finding, fine, missing, warning
from deploy.doctor.prometheus_checks import check_prometheus
from deploy.doctor.refusal import refused
from deploy.doctor.rights import check_build_rights, check_rights
from deploy.doctor.secret_checks import check_build_secrets, check_secrets
from resources.kubernetes_api.client import KINDS, Cluster, ClusterRefused, ClusterUnavailable
from resources.kubernetes_api.pod_template import GPU

OLDEST = (1, 31)
UNAUTHORIZED = 401
PRODUCTS = {
    "RayJob": "KubeRay 1.7.0",
    "Workload": "Kueue 0.19.2",
    "LocalQueue": "Kueue 0.19.2",
    "HTTPRoute": "Gateway API 1.6.1",
    "Gateway": "Gateway API 1.6.1",
    "ScaledObject": "KEDA 2.20.2",
}
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
HAS_A_VERSION = re.compile(r"(:(?!latest$)[^/:@]+|@sha256:[0-9a-f]+)$")
APPLY = "kubectl apply -k deploy/kubernetes/overlays/OVERLAY"


def check_cluster(cluster: Cluster) -> Iterator[Finding]:
    """Everything about the cluster; nothing more once it does not answer."""
    from kubernetes.config import ConfigException

    checks: tuple[tuple[str, str, Callable[[Cluster], Iterator[Finding]]], ...] = (
        ("Kubernetes", "get /version", _check_version),
        ("kinds", "get /apis", _check_kinds),
        ("namespace", "get namespaces", _check_namespace),
        ("rights", "create selfsubjectaccessreviews", check_rights),
        ("settings of pods", "get configmaps", _check_config_map),
        ("secrets", "get secrets", check_secrets),
        ("builds", "get namespaces", check_builds),
        ("rights of builds", "create selfsubjectaccessreviews", check_build_rights),
        ("secrets of builds", "get secrets", check_build_secrets),
        ("images", "", _check_images),
        ("queue", "get localqueues", _check_queue),
        ("priorities", "list workloadpriorityclasses", _check_priorities),
        ("gateway", "get gateways", _check_gateway),
        ("Prometheus", "list deployments", check_prometheus),
        ("GPUs", "list nodes", _check_nodes),
        ("storage class", "list storageclasses", _check_storage_class),
    )
    for name, right, check in checks:
        try:
            yield from check(cluster)
        except ClusterRefused as error:
            yield refused(name, right, error)
            # Every other check would get the same answer.
            if error.status == UNAUTHORIZED:
                return
        except (ClusterUnavailable, ConfigException) as error:
            yield missing("Kubernetes", str(error), _way_in(cluster))
            return


def _way_in(cluster: Cluster) -> str:
    if cluster.settings.kubeconfig:
        return (
            f"see that `kubectl --kubeconfig {cluster.settings.kubeconfig} get --raw /readyz` "
            "answers; ORRERY_CLUSTER_KUBECONFIG names the file"
        )
    return (
        "run this in a pod with a service account's token, from which the network policies let out "
        "to the API server's port (docs/kubernetes.md, Ports), or set ORRERY_CLUSTER_KUBECONFIG"
    )


def _check_version(cluster: Cluster) -> Iterator[Finding]:
    got, expected = cluster.version(), ".".join(map(str, OLDEST))
    message = f"API server {'.'.join(map(str, got))}"
    if got < OLDEST:
        yield missing(
            "Kubernetes", f"{message}, expected {expected} or newer", "upgrade the cluster"
        )
        return
    yield fine("Kubernetes", message)


def _check_kinds(cluster: Cluster) -> Iterator[Finding]:
    settings = cluster.settings
    wanted = ["RayJob"]
    wanted += ["Workload", "LocalQueue"] if settings.queue else []
    wanted += ["HTTPRoute", "Gateway"] if settings.gateway else []
    wanted += ["ScaledObject"] if settings.autoscaler == "keda" else []
    for kind in wanted:
        version = KINDS[kind][0].removeprefix("apis/")
        if cluster.serves(kind):
            yield fine(kind, f"{version} is served")
        else:
            yield missing(
                kind,
                f"the cluster does not serve {kind} of {version}",
                f"install {PRODUCTS[kind]} as its own documentation says",
            )


def _check_namespace(cluster: Cluster) -> Iterator[Finding]:
    name = cluster.namespace
    if cluster.has("Namespace", name):
        yield fine("namespace", name)
    else:
        yield missing("namespace", f"there is no namespace {name}", f"{APPLY} makes it")


def _check_config_map(cluster: Cluster) -> Iterator[Finding]:
    name = cluster.settings.config_map
    if cluster.has("ConfigMap", name):
        yield fine(f"ConfigMap {name}", "there")
    else:
        yield missing(
            f"ConfigMap {name}",
            f"there is no ConfigMap {name} in {cluster.namespace}; no run or job can start",
            f"{APPLY} makes it, or name another with ORRERY_CLUSTER_CONFIG_MAP",
        )


def _check_images(cluster: Cluster) -> Iterator[Finding]:
    settings = cluster.settings
    images = {
        "ORRERY_CLUSTER_CONTROL_IMAGE": settings.control_image,
        "ORRERY_CLUSTER_TRAINING_IMAGE": settings.training_image,
        "ORRERY_CLUSTER_SERVING_IMAGE": settings.serving_image,
    }
    if settings.registry:
        images["ORRERY_CLUSTER_BUILDER_IMAGE"] = settings.builder_image
    for variable, image in images.items():
        if not HAS_A_VERSION.search(image):
            yield warning(
                variable,
                f"got the image {image}, expected one with a tag or a digest; what it is changes",
                f"write {image.removesuffix(':latest')}:VERSION (`images:` of the overlay)",
            )
    if all(map(HAS_A_VERSION.search, images.values())):
        yield fine("images", "each has a tag or a digest")


def _check_queue(cluster: Cluster) -> Iterator[Finding]:
    name = cluster.settings.queue
    if not name:
        return
    queue = cluster.get("LocalQueue", name)
    if queue is None:
        yield missing(
            "queue",
            f"there is no LocalQueue {name} in {cluster.namespace}; jobs stay suspended",
            "apply components/queues, or name another with ORRERY_CLUSTER_QUEUE",
        )
        return
    yield _by_condition(
        queue, "queue", "Active", f"see its ClusterQueue: kubectl describe localqueue {name}"
    )


def _check_priorities(cluster: Cluster) -> Iterator[Finding]:
    if not cluster.settings.queue:
        return
    classes = sorted(each["metadata"]["name"] for each in cluster.find("WorkloadPriorityClass"))
    if classes:
        yield fine("priorities", ", ".join(classes))
    else:
        yield warning(
            "priorities",
            "there is no WorkloadPriorityClass; a job whose declaration names one is not admitted",
            "apply components/queues",
        )


def _check_gateway(cluster: Cluster) -> Iterator[Finding]:
    where = cluster.settings.gateway
    if not where:
        return
    namespace, _, name = where.partition("/")
    if not name:
        yield missing(
            "gateway",
            f"got ORRERY_CLUSTER_GATEWAY={where}, expected namespace/name",
            f"write {cluster.namespace}/{where}",
        )
        return
    gateway = cluster.within(namespace).get("Gateway", name)
    if gateway is None:
        yield missing(
            "gateway",
            f"there is no Gateway {name} in {namespace}; nobody reaches a service",
            "apply components/gateway-api, or name another with ORRERY_CLUSTER_GATEWAY",
        )
        return
    yield _by_condition(
        gateway,
        "gateway",
        "Programmed",
        f"see that its gatewayClassName is an installed implementation's: "
        f"kubectl -n {namespace} describe gateway {name}",
    )


def _by_condition(object: dict[str, Any], name: str, kind: str, todo: str) -> Finding:
    """Whether the object's controller says that the condition holds."""
    named = f"{object['kind']} {object['metadata']['name']}"
    conditions = {c["type"]: c for c in (object.get("status") or {}).get("conditions") or ()}
    condition = conditions.get(kind, {})
    if condition.get("status") == "True":
        return fine(name, f"{named} is {kind}")
    why = (
        condition.get("message")
        or condition.get("reason")
        or "its controller has said nothing of it"
    )
    return missing(name, f"{named} is not {kind}: {why}", todo)


def _check_nodes(cluster: Cluster) -> Iterator[Finding]:
    amounts = [
        int((node.get("status") or {}).get("allocatable", {}).get(GPU, 0))
        for node in cluster.find("Node")
    ]
    if gpus := sum(amounts):
        yield fine("GPUs", f"{gpus} on {sum(map(bool, amounts))} of {len(amounts)} nodes")
    else:
        yield warning(
            "GPUs",
            f"no node has {GPU} to give; a job that asks for GPUs stays pending",
            "install the NVIDIA GPU operator or add nodes, if a model declares gpus_per_worker",
        )


def _check_storage_class(cluster: Cluster) -> Iterator[Finding]:
    for each in cluster.find("StorageClass"):
        if (each["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true":
            yield fine("storage class", f"{each['metadata']['name']} is the default")
            return
    yield warning(
        "storage class",
        "no StorageClass is the default; a database or a bucket in the cluster gets no volume",
        f"annotate one with {DEFAULT_CLASS}=true, or keep both outside the cluster",
    )
