"""Tags by which dagster_k8s gives a step's pod what it needs."""

from typing import Any

from resources.kubernetes_api.pod_template import resources_of
from resources.kubernetes_api.settings import ClusterSettings


def pod_tags(memory: str | None, cluster: ClusterSettings) -> dict[str, Any]:
    """Tags of a step that needs this much memory; none where it needs no more than others."""
    if memory is None or not cluster.is_used:
        return {}
    resources = resources_of(cluster, cluster.run_cpus, memory)
    return {"dagster-k8s/config": {"container_config": {"resources": resources}}}
