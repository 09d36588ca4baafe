"""Checks of a cluster: its server, its kinds, and what the namespace must hold."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploy.doctor.cluster.build_checks import check_builds
from deploy.doctor.cluster.limit_checks import check_limits, check_quotas
from deploy.doctor.cluster.right_checks import check_build_rights, check_rights
from deploy.doctor.cluster.room_checks import check_room
from deploy.doctor.cluster.secret_checks import check_build_secrets, check_secrets
from deploy.doctor.finding import Finding, fine, missing, warning
from deploy.doctor.operators.conditions import by_condition
from deploy.doctor.operators.entry_checks import check_entries
from deploy.doctor.operators.gateway_checks import check_gateway
from deploy.doctor.operators.metrics_checks import check_metrics
from deploy.doctor.operators.operator_checks import check_operators
from deploy.doctor.operators.prometheus_checks import check_prometheus
from deploy.doctor.refusal import refused
from resources.kubernetes_api.client import Cluster, ClusterRefused, ClusterUnavailable
from resources.kubernetes_api.kinds import KINDS
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
GPUS_OF_NODES = r"-o custom-columns='NODE:.metadata.name,GPUS:.status.allocatable.nvidia\.com/gpu'"
APPLY = "kubectl apply -k deploy/kubernetes/overlays/OVERLAY"


@dataclass(frozen=True)
class _Check:
    """A check, with the right it needs and the command that looks in its place."""

    name: str
    right: str
    look: str
    check: Callable[[Cluster], Iterator[Finding]]

    def commands(self, cluster: Cluster) -> tuple[str, ...]:
        settings = cluster.settings
        known = {"namespace": cluster.namespace, "builds": settings.build_namespace}
        return (f"kubectl {self.look}".format_map(known),) if self.look else ()


def _checks(instance_secret: Path, runs_at_once: int | None) -> Iterator[_Check]:
    review, own = "create selfsubjectaccessreviews", "-n {namespace} get"
    yield _Check("Kubernetes", "get /version", "version", _check_version)
    yield _Check("kinds", "get /apis", "api-resources", _check_kinds)
    yield _Check("operators", "list deployments", "get deployments -A", check_operators)
    yield _Check("namespace", "get namespaces", "get namespace {namespace}", _check_namespace)
    yield _Check("entries", "list networkpolicies", f"{own} networkpolicies", check_entries)
    yield _Check("rights", review, "", check_rights)
    yield _Check("settings of pods", "get configmaps", f"{own} configmaps", _check_config_map)
    of_pods = partial(check_secrets, instance_secret=instance_secret)
    yield _Check("secrets", "get secrets", f"{own} secrets", of_pods)
    yield _Check("LimitRanges", "list limitranges", f"{own} limitranges", check_limits)
    yield _Check("ResourceQuotas", "list resourcequotas", f"{own} resourcequotas", check_quotas)
    yield _Check("builds", "get namespaces", "get namespace {builds} --show-labels", check_builds)
    yield _Check("rights of builds", review, "", check_build_rights)
    yield _Check("secrets of builds", "get secrets", "-n {builds} get secrets", check_build_secrets)
    yield _Check("images", "", "", _check_images)
    yield _Check("queue", "get localqueues", f"{own} localqueues", _check_queue)
    yield _Check(
        "priorities",
        "list workloadpriorityclasses",
        "get workloadpriorityclasses",
        _check_priorities,
    )
    yield _Check("gateway", "get gateways", "get gateways -A", check_gateway)
    yield _Check("metrics-server", "get apiservices", "get apiservices", check_metrics)
    yield _Check("Prometheus", "list deployments", f"{own} deployments", check_prometheus)
    of_runs = partial(check_room, runs_at_once=runs_at_once)
    yield _Check("room", "list nodes", "describe nodes", of_runs)
    yield _Check("GPUs", "list nodes", f"get nodes {GPUS_OF_NODES}", _check_nodes)
    yield _Check("storage class", "list storageclasses", "get storageclasses", _check_storage_class)


def check_cluster(
    cluster: Cluster, instance_secret: Path, runs_at_once: int | None
) -> Iterator[Finding]:
    """Everything about the cluster; nothing more once it does not answer. A gateway has the secret
    of the instance as a file; so many runs are under way at once, where that is set here."""
    from kubernetes.config import ConfigException

    for each in _checks(instance_secret, runs_at_once):
        try:
            yield from each.check(cluster)
        except ClusterRefused as error:
            yield refused(each.name, each.right, error, *each.commands(cluster))
            # Every other check would get the same answer.
            if error.status == UNAUTHORIZED:
                return
        except (ClusterUnavailable, ConfigException) as error:
            yield missing("Kubernetes", str(error), *_way_in(cluster))
            return


def _way_in(cluster: Cluster) -> tuple[str, ...]:
    """What to do, and the command that shows whether it helped."""
    if kubeconfig := cluster.settings.kubeconfig:
        return (
            "see that its API server answers; ORRERY_CLUSTER_KUBECONFIG names the file",
            f"kubectl --kubeconfig {kubeconfig} get --raw /readyz",
        )
    return (
        "run this in a pod with a service account's token, from which the network policies let out "
        "to the API server's port (docs/kubernetes.md, Ports), or set ORRERY_CLUSTER_KUBECONFIG",
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
        yield missing("namespace", f"there is no namespace {name}", "make it", APPLY)


def _check_config_map(cluster: Cluster) -> Iterator[Finding]:
    name = cluster.settings.config_map
    if cluster.has("ConfigMap", name):
        yield fine(f"ConfigMap {name}", "there")
    else:
        yield missing(
            f"ConfigMap {name}",
            f"there is no ConfigMap {name} in {cluster.namespace}; no run or job can start",
            "make it, or name another with ORRERY_CLUSTER_CONFIG_MAP",
            APPLY,
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
    yield by_condition(
        queue,
        "queue",
        "Active",
        "see its ClusterQueue",
        f"kubectl -n {cluster.namespace} describe localqueue {name}",
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
        f"kubectl annotate storageclass NAME {DEFAULT_CLASS}=true",
    )
