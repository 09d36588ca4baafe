"""Whether the cluster measures processor time, by which autoscalers add replicas."""

from collections.abc import Iterator

from deploy.doctor.finding import Finding, fine, warning
from deploy.doctor.operators.conditions import condition, reason
from resources.kubernetes_api.client import FORBIDDEN, Cluster, ClusterRefused, ClusterUnavailable

SERVICE = "v1beta1.metrics.k8s.io"
PATH = "apis/metrics.k8s.io/v1beta1"
EFFECT = "services that are scaled by processor time keep their fewest replicas"


def check_metrics(cluster: Cluster) -> Iterator[Finding]:
    """Where services are scaled by processor time."""
    if cluster.settings.autoscaler != "hpa":
        return
    try:
        found = cluster.get("APIService", SERVICE)
    except ClusterRefused as error:
        if error.status != FORBIDDEN:
            raise
        yield _by_discovery(cluster)
        return
    if found is None:
        yield _absent()
        return
    available = condition(found.get("status"), "Available")
    if available.get("status") == "True":
        yield fine("metrics-server", f"{SERVICE} is Available")
    else:
        yield _unwell(reason(available))


def _by_discovery(cluster: Cluster) -> Finding:
    """By what the API says of itself, which every account may ask."""
    try:
        resources = cluster.once().resources_of(PATH)
    except ClusterUnavailable as error:
        return _unwell(str(error))
    return fine("metrics-server", f"{SERVICE} answers") if resources else _absent()


def _absent() -> Finding:
    return warning(
        "metrics-server",
        f"the cluster does not serve {SERVICE}; {EFFECT}",
        "install metrics-server as its own documentation says",
    )


def _unwell(why: str) -> Finding:
    return warning(
        "metrics-server",
        f"{SERVICE} is not Available: {why}; {EFFECT}",
        "see why metrics-server does not answer",
        f"kubectl describe apiservice {SERVICE}",
        "kubectl -n kube-system logs deployment/metrics-server",
    )
