"""What pods say of why they do not run, in words for whoever waits."""

from collections.abc import Mapping
from typing import Any

STUCK = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
)


def is_stuck(said: str) -> bool:
    """Whether what is said will hardly heal by waiting."""
    return any(reason in said for reason in STUCK)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the pod may have traffic."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return "deletionTimestamp" not in pod["metadata"] and any(
        c["type"] == "Ready" and c["status"] == "True" for c in conditions
    )


def restarts_of(pod: Mapping[str, Any]) -> int:
    """How often the pod's containers have been started again."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return sum(status.get("restartCount", 0) for status in statuses)


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


def _of_container(pod: str, container: Mapping[str, Any]) -> list[str]:
    state, said = container.get("state") or {}, []
    waiting = state.get("waiting") or {}
    if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
        said.append(f"pod {pod}: {waiting['reason']} {waiting.get('message', '')}".strip())
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if ended and ended.get("exitCode"):
        said.append(f"pod {pod} ended with code {ended['exitCode']} ({ended.get('reason')})")
    return said
