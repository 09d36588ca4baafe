"""What the pods that are started with a Secret tell of it, to those who may not read it."""

from typing import Any

from deploy.doctor.finding import Finding, fine, missing
from resources.kubernetes_api.client import Cluster, ClusterRefused

NOT_THERE = "CreateContainerConfigError"


def sign_of_pods(cluster: Cluster, secret: str, finding: str, how: str) -> Finding | None:
    """Whether a container has started with the Secret, or cannot; None where no pod tells."""
    try:
        pods = [pod for pod in cluster.find("Pod") if secret in _secrets_of(pod)]
    except ClusterRefused:
        return None
    for pod in pods:
        for state in _states(pod):
            waiting = state.get("waiting") or {}
            if waiting.get("reason") == NOT_THERE and secret in waiting.get("message", ""):
                return missing(
                    finding,
                    f"the pod {pod['metadata']['name']} cannot start: {waiting['message']}",
                    f"make the Secret {secret} ({how})",
                )
    started = [pod for pod in pods if any(map(_has_started, _states(pod)))]
    if started:
        return fine(finding, f"the pod {started[-1]['metadata']['name']} was started with it")
    return None


def _secrets_of(pod: dict[str, Any]) -> set[str]:
    """Secrets whose keys the containers have as variables."""
    return {
        source["secretRef"]["name"]
        for container in pod["spec"]["containers"]
        for source in container.get("envFrom") or ()
        if "secretRef" in source
    }


def _states(pod: dict[str, Any]) -> list[dict[str, Any]]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return [status.get("state") or {} for status in statuses]


def _has_started(state: dict[str, Any]) -> bool:
    return "running" in state or "terminated" in state
