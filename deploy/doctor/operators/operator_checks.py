"""Whether the operators run, and not only their kinds are served."""

from collections.abc import Iterator
from typing import Any

from deploy.doctor.finding import Finding, fine, missing, warning
from deploy.doctor.operators.conditions import condition, reason
from deploy.doctor.operators.known import GATEWAYS, Operator, operators
from deploy.doctor.refusal import refused
from resources.kubernetes_api.client import (
    FORBIDDEN,
    Cluster,
    ClusterRefused,
    ClusterUnavailable,
)
from resources.kubernetes_api.pod_status import troubles_of, troubles_of_deployment

EXTERNAL_METRICS = "apis/external.metrics.k8s.io/v1beta1"
PROXY_LABELS = (
    "gateway.networking.k8s.io/gateway-name={name}",
    "gateway.envoyproxy.io/owning-gateway-name={name},"
    "gateway.envoyproxy.io/owning-gateway-namespace={namespace}",
)
"""Labels of the Deployments that carry a Gateway's traffic."""


def check_operators(cluster: Cluster) -> Iterator[Finding]:
    """One finding of each that the settings need."""
    for operator in operators(cluster.settings):
        try:
            if operator is GATEWAYS:
                yield from _by_gateway_class(cluster, operator)
            else:
                yield _by_deployments(cluster, operator)
        except ClusterRefused as error:
            if error.status != FORBIDDEN:
                raise
            yield _by_sign(cluster, operator, error)


def deployments_of(cluster: Cluster, operator: Operator) -> list[dict[str, Any]]:
    """Its Deployments, in whichever namespaces they are. Raises ClusterRefused."""
    for selector in operator.selectors:
        if found := list(cluster.find("Deployment", selector, everywhere=True)):
            return found
    by_name = f"metadata.name={operator.deployment}"
    return list(cluster.find("Deployment", fields=by_name, everywhere=True))


def proxies_of(cluster: Cluster) -> list[dict[str, Any]]:
    """Deployments whose pods carry the traffic of the Gateway. Raises ClusterRefused."""
    namespace, _, name = cluster.settings.gateway.partition("/")
    for labels in PROXY_LABELS:
        selector = labels.format(name=name, namespace=namespace)
        if found := list(cluster.find("Deployment", selector, everywhere=True)):
            return found
    return []


def _by_deployments(cluster: Cluster, operator: Operator) -> Finding:
    found = deployments_of(cluster, operator)
    if not found:
        return _nowhere(cluster, operator)
    ready = [each for each in found if (each.get("status") or {}).get("readyReplicas", 0) > 0]
    if ready:
        return fine(operator.name, f"{_place(ready[0])} is ready")
    return _not_ready(cluster, operator, found[0])


def _nowhere(cluster: Cluster, operator: Operator) -> Finding:
    said = (
        f"no Deployment of {operator.name} runs in any namespace: none is named "
        f"{operator.deployment} or has the labels {' or '.join(operator.selectors)}"
    )
    todo = f"install {operator.product} as its own documentation says"
    sign = SIGNS[operator.sign](cluster, operator) if operator.is_out_of_sight else None
    if sign is not None and sign.state == "ok":
        todo = f"{todo}, unless the cluster's provider runs it out of sight"
        return warning(operator.name, f"{said}; but {sign.message}", todo)
    return missing(operator.name, said, todo)


def _not_ready(cluster: Cluster, operator: Operator, deployment: dict[str, Any]) -> Finding:
    meta, wanted = deployment["metadata"], deployment["spec"].get("replicas", 1)
    namespace, name = meta["namespace"], meta["name"]
    if wanted == 0:
        return missing(
            operator.name,
            f"{_place(deployment)} is scaled to no replicas",
            "scale it up",
            f"kubectl -n {namespace} scale deployment {name} --replicas=1",
        )
    said = troubles_of_deployment(deployment) or _troubles_of_pods(cluster, deployment)
    why = "; ".join(said) or reason(condition(deployment.get("status"), "Available"))
    return missing(
        operator.name,
        f"{_place(deployment)} has 0 of {wanted} replicas ready: {why}",
        "see why its pods do not run",
        f"kubectl -n {namespace} describe deployment {name}",
        f"kubectl -n {namespace} get pods",
        f"kubectl -n {namespace} logs deployment/{name}",
    )


def _troubles_of_pods(cluster: Cluster, deployment: dict[str, Any]) -> list[str]:
    """What keeps the Deployment's pods from running, as far as this process may see them."""
    labels = deployment["spec"]["selector"].get("matchLabels") or {}
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    try:
        pods = list(cluster.within(deployment["metadata"]["namespace"]).find("Pod", selector))
    except ClusterRefused:
        return []
    return [said for pod in pods for said in troubles_of(pod)]


def _by_gateway_class(cluster: Cluster, operator: Operator) -> Iterator[Finding]:
    """By its class, which every implementation accepts, whatever its Deployment is called; nothing
    without the Gateway, which names the class."""
    namespace, _, name = cluster.settings.gateway.partition("/")
    gateway = cluster.within(namespace).get("Gateway", name) if name else None
    if gateway is None:
        return
    wanted = gateway["spec"]["gatewayClassName"]
    found = cluster.get("GatewayClass", wanted)
    if found is None:
        yield missing(
            operator.name,
            f"there is no GatewayClass {wanted}, which the Gateway {name} names",
            f"install {operator.product}, make its class, or patch gatewayClassName",
            "kubectl get gatewayclasses",
        )
        return
    accepted = condition(found.get("status"), "Accepted")
    if accepted.get("status") == "True":
        yield fine(operator.name, f"GatewayClass {wanted} is Accepted")
        return
    yield missing(
        operator.name,
        f"GatewayClass {wanted} is not Accepted: {reason(accepted)}",
        f"see that {found['spec']['controllerName']} is installed and runs",
        f"kubectl describe gatewayclass {wanted}",
    )


def _by_sign(cluster: Cluster, operator: Operator, error: ClusterRefused) -> Finding:
    """By what it does for the namespace, where it cannot be seen itself."""
    try:
        found = SIGNS[operator.sign](cluster, operator)
    except ClusterRefused:
        found = None
    if found is not None:
        return found
    if operator is GATEWAYS:
        return refused(operator.name, "get gatewayclasses", error, "kubectl get gatewayclasses")
    fields = f"--field-selector metadata.name={operator.deployment}"
    look = f"kubectl get deployments --all-namespaces {fields}"
    return refused(operator.name, "list deployments of all namespaces", error, look)


def _sign_of_ray_jobs(cluster: Cluster, operator: Operator) -> Finding | None:
    """RayJobs get a status from the operator, unless a queue still holds them."""
    jobs = [each for each in cluster.find("RayJob") if not each["spec"].get("suspend")]
    if not jobs:
        return None
    if with_status := [each for each in jobs if each.get("status")]:
        name = with_status[-1]["metadata"]["name"]
        return fine(operator.name, f"it has given RayJob {name} a status")
    names = ", ".join(each["metadata"]["name"] for each in jobs[:3])
    return warning(
        operator.name,
        f"no RayJob has a status ({names}); if they are older than a minute, it does not run",
        f"see that {operator.product} runs",
        f"kubectl get deployments --all-namespaces --field-selector "
        f"metadata.name={operator.deployment}",
    )


def _sign_of_queue(cluster: Cluster, operator: Operator) -> Finding | None:
    name = cluster.settings.queue
    queue = cluster.get("LocalQueue", name)
    if queue is None or not condition(queue.get("status"), "Active"):
        return None
    return fine(operator.name, f"it has given LocalQueue {name} a status")


def _sign_of_gateway(cluster: Cluster, operator: Operator) -> Finding | None:
    namespace, _, name = cluster.settings.gateway.partition("/")
    gateway = cluster.within(namespace).get("Gateway", name)
    accepted = condition((gateway or {}).get("status"), "Accepted")
    if accepted.get("status") != "True":
        return None
    return fine(operator.name, f"it has accepted Gateway {name}")


def _sign_of_external_metrics(cluster: Cluster, operator: Operator) -> Finding | None:
    """Every account may ask what an API has; that of external metrics is KEDA's."""
    try:
        is_served = cluster.once().resources_of(EXTERNAL_METRICS)
    except ClusterUnavailable as error:
        return missing(
            operator.name,
            f"its API server of metrics does not answer: {error}",
            "see that its pods run",
            "kubectl describe apiservice v1beta1.external.metrics.k8s.io",
        )
    if is_served:
        return fine(operator.name, "its API server of metrics answers")
    return None


SIGNS = {
    "RayJob": _sign_of_ray_jobs,
    "LocalQueue": _sign_of_queue,
    "Gateway": _sign_of_gateway,
    "external metrics": _sign_of_external_metrics,
}


def _place(deployment: dict[str, Any]) -> str:
    meta = deployment["metadata"]
    return f"Deployment {meta['name']} in {meta['namespace']}"
