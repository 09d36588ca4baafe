"""Why Kubernetes Deployments and pods do not run, in words for a person."""

from collections.abc import Mapping
from datetime import UTC, datetime
from math import inf
from typing import Any

STUCK = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "violates PodSecurity",
)
FAILING = ("ReplicaFailure", "True")
LAST_WORDS = 1_000
"""Characters of what a container said before it ended."""


def is_stuck(said: str) -> bool:
    """Whether what is said will hardly heal by waiting."""
    return any(reason in said for reason in STUCK)


def is_rolled_out(deployment: Mapping[str, Any], replicas: int) -> bool:
    """Whether so many pods of the Deployment's newest template are ready, and no older one is."""
    status = deployment.get("status") or {}
    updated = status.get("updatedReplicas", 0)
    return (
        # Until then the status is that of an earlier template.
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and status.get("replicas", 0) == updated
        and min(updated, status.get("availableReplicas", 0)) >= replicas
    )


def troubles_of_deployment(deployment: Mapping[str, Any]) -> list[str]:
    """What keeps the Deployment from making pods."""
    conditions = (deployment.get("status") or {}).get("conditions") or ()
    return [c["message"] for c in conditions if (c["type"], c["status"]) == FAILING]


def is_overdue(deployment: Mapping[str, Any]) -> bool:
    """Whether the Deployment has not come on for as long as it may."""
    conditions = (deployment.get("status") or {}).get("conditions") or ()
    return any(c.get("reason") == "ProgressDeadlineExceeded" for c in conditions)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the pod may have traffic."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    # A pod that is being deleted may stay Ready until its containers have ended.
    return "deletionTimestamp" not in pod["metadata"] and any(
        c["type"] == "Ready" and c["status"] == "True" for c in conditions
    )


def restarts_of(pod: Mapping[str, Any]) -> int:
    """How often the pod's containers have been started again."""
    return _restarts(pod, "containerStatuses")


def false_starts_of(pod: Mapping[str, Any]) -> int:
    """How often those have been that come before its containers."""
    return _restarts(pod, "initContainerStatuses")


def has_no_node(pod: Mapping[str, Any]) -> bool:
    """Whether the scheduler has found no room for the pod."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any((c["type"], c["status"]) == ("PodScheduled", "False") for c in conditions)


def scheduled_s_ago(pod: Mapping[str, Any]) -> float:
    """Seconds since the pod was given its node; endless where that is not known."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("lastTransitionTime"):
            at = datetime.fromisoformat(condition["lastTransitionTime"])
            return (datetime.now(UTC) - at).total_seconds()
    return inf


def troubles_of(pod: Mapping[str, Any]) -> list[str]:
    """Everything that keeps the pod from running."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    said = []
    if status.get("reason"):
        said.append(f"pod {name}: {status['reason']} {status.get('message', '')}".strip())
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            said.append(f"pod {name} has no node: {condition.get('message', '')}")
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            said.append(f"pod {name} was disrupted: {condition.get('message', '')}")
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or ():
            said += _of_container(name, container)
    return said


def _restarts(pod: Mapping[str, Any], kind: str) -> int:
    statuses = (pod.get("status") or {}).get(kind) or ()
    return sum(status.get("restartCount", 0) for status in statuses)


def _of_container(pod: str, container: Mapping[str, Any]) -> list[str]:
    state, said = container.get("state") or {}, []
    waiting = state.get("waiting") or {}
    if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
        said.append(f"pod {pod}: {waiting['reason']} {waiting.get('message', '')}".strip())
    # Between two starts a container waits, and its last state says how it ended.
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if ended and ended.get("exitCode"):
        words = f": {ended['message'].strip()[-LAST_WORDS:]}" if ended.get("message") else ""
        said.append(f"pod {pod} ended with code {ended['exitCode']} ({ended.get('reason')}){words}")
    return said
