"""Whether there is a namespace in which images of services can be built."""

from collections.abc import Iterator

from deploy.doctor.finding import Finding, fine, missing
from resources.kubernetes_api.client import Cluster

COMPONENT = "deploy/kubernetes/components/builder"
LEVEL = "pod-security.kubernetes.io/enforce"
REFUSING = ("baseline", "restricted")
"""Levels that admit no pod without profiles of seccomp and AppArmor, as BuildKit's is."""


def check_builds(cluster: Cluster) -> Iterator[Finding]:
    """Where a registry is set; without one nothing is built."""
    settings = cluster.settings
    if not settings.registry:
        return
    name = settings.build_namespace
    if not name:
        yield missing(
            "builds",
            f"images go to {settings.registry}, but no namespace is named that admits BuildKit",
            f"apply {COMPONENT}, which sets ORRERY_CLUSTER_BUILD_NAMESPACE",
        )
        return
    namespace = cluster.get("Namespace", name)
    if namespace is None:
        yield missing("builds", f"there is no namespace {name}", f"apply {COMPONENT}")
        return
    level = (namespace["metadata"].get("labels") or {}).get(LEVEL, "")
    if level in REFUSING:
        yield missing(
            "builds",
            f"the namespace {name} has the PodSecurity level {level}, which refuses BuildKit",
            f"name one of the level privileged, as {COMPONENT} makes it",
        )
        return
    yield fine("builds", f"in the namespace {name}")
