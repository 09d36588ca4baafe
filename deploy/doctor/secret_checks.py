"""Whether the Secrets are there that pods are started with; what they hold is not asked for."""

from collections.abc import Iterator

from deploy.doctor.finding import Finding, fine, missing
from deploy.doctor.refusal import refused
from resources.kubernetes_api.client import Cluster, ClusterRefused

HOW = "docs/kubernetes.md, Secrets"
HOW_FOR_BUILDS = "docs/kubernetes.md, Images of services"


def check_secrets(cluster: Cluster) -> Iterator[Finding]:
    """Those of runs, jobs and services."""
    settings = cluster.settings
    users = {
        settings.secret: "run pods take the databases and the bucket from it",
        settings.engine_secret: "training code takes the bucket and MLflow from it",
        settings.bucket_secret: "services take the bucket's credentials from it",
    }
    for name, why in users.items():
        todo = f"kubectl -n {cluster.namespace} create secret generic {name} ... ({HOW})"
        yield _checked(f"Secret {name}", cluster, name, why, todo)


def check_build_secrets(cluster: Cluster) -> Iterator[Finding]:
    """Those of builds, in whose namespace they are copies."""
    settings = cluster.settings
    if not (settings.registry and settings.build_namespace):
        return
    users = {settings.bucket_secret: "builds take the bucket's credentials from it"}
    if settings.pull_secrets:
        users[settings.pull_secrets[0]["name"]] = "builds push with it"
    for name, why in users.items():
        todo = f"copy it from {cluster.namespace} ({HOW_FOR_BUILDS})"
        yield _checked(
            f"Secret {name} of builds", cluster.within(settings.build_namespace), name, why, todo
        )


def _checked(finding: str, cluster: Cluster, name: str, why: str, todo: str) -> Finding:
    try:
        is_there = cluster.has("Secret", name)
    except ClusterRefused as error:
        return refused(finding, "get secrets", error)
    if is_there:
        return fine(finding, "there")
    return missing(finding, f"there is no Secret {name} in {cluster.namespace}; {why}", todo)
