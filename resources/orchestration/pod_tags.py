"""Tags by which dagster_k8s gives a step's pod what it needs."""

from typing import Any


def pod_tags(memory: str | None) -> dict[str, Any]:
    """Tags of a step that needs this much memory; none where it needs no more than others."""
    if memory is None:
        return {}
    resources = {"requests": {"memory": memory}, "limits": {"memory": memory}}
    return {"dagster-k8s/config": {"container_config": {"resources": resources}}}
