"""Whether the network policies let in those who must come in: by labels of their namespaces."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from deploy.doctor.finding import Finding, fine, missing
from deploy.doctor.operators.known import GATEWAYS, PROMETHEUS_ENTERS, Operator, operators
from deploy.doctor.operators.operator_checks import deployments_of, proxies_of
from deploy.doctor.refusal import refused
from resources.kubernetes_api.client import Cluster, ClusterRefused

HOW = "docs/kubernetes.md, Before"


def check_entries(cluster: Cluster) -> Iterator[Finding]:
    """One finding of each namespace from which somebody comes in, where policies ask for labels."""
    settings = cluster.settings
    asked_for = _labels_of_policies(cluster)
    visitors = [(o.name, o.enters, o) for o in operators(settings) if o.enters in asked_for]
    for name, label, operator in visitors:
        yield from _of_operator(cluster, name, label, operator)
    namespace = _namespace_of(settings.prometheus_url)
    if settings.autoscaler == "keda" and namespace and PROMETHEUS_ENTERS in asked_for:
        yield _of_namespace(cluster, "Prometheus", PROMETHEUS_ENTERS, namespace)


def _labels_of_policies(cluster: Cluster) -> set[str]:
    """Labels with the value `true` by which policies of the namespace choose whom they let in."""
    labels: set[str] = set()
    for policy in cluster.find("NetworkPolicy"):
        for rule in policy["spec"].get("ingress") or ():
            for peer in rule.get("from") or ():
                wanted = (peer.get("namespaceSelector") or {}).get("matchLabels") or {}
                labels |= {label for label, value in wanted.items() if value == "true"}
    return labels


def _of_operator(cluster: Cluster, name: str, label: str, operator: Operator) -> Iterator[Finding]:
    try:
        found = proxies_of(cluster) if operator is GATEWAYS else []
        found = found or deployments_of(cluster, operator)
    except ClusterRefused as error:
        look = f"kubectl get namespaces --selector {label}=true"
        yield refused(_named(name), "list deployments of all namespaces", error, look)
        return
    for namespace in sorted({each["metadata"]["namespace"] for each in found}):
        # Within the namespace the policies name pods, and not namespaces.
        if namespace != cluster.namespace:
            yield _of_namespace(cluster, name, label, namespace)


def _of_namespace(cluster: Cluster, name: str, label: str, namespace: str) -> Finding:
    finding = f"{_named(name)} from {namespace}"
    try:
        found = cluster.get("Namespace", namespace)
    except ClusterRefused as error:
        look = f"kubectl get namespace {namespace} --show-labels"
        return refused(finding, "get namespaces", error, look)
    if found is None:
        return missing(
            finding, f"there is no namespace {namespace}", f"install {name} there, or name another"
        )
    if (found["metadata"].get("labels") or {}).get(label) == "true":
        return fine(finding, f"the namespace {namespace} has the label {label}=true")
    return missing(
        finding,
        f"the namespace {namespace} lacks the label {label}=true; the network policies of "
        f"{cluster.namespace} keep {name} out",
        f"label it ({HOW})",
        f"kubectl label namespace {namespace} {label}=true",
    )


def _named(name: str) -> str:
    return f"entry of {name}"


def _namespace_of(url: str) -> str:
    """Namespace of a Service by its address; empty for one that is not in the cluster."""
    parts = (urlsplit(url).hostname or "").split(".")
    return parts[1] if len(parts) > 2 and parts[2] == "svc" else ""
