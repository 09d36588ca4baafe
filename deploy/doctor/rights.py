"""What the platform does with a namespace, as rights that may lack."""

from collections.abc import Iterator
from dataclasses import dataclass

from deploy.doctor.finding import Finding, fine, missing, skipped
from resources.kubernetes_api.client import KINDS, Cluster
from resources.kubernetes_api.settings import ClusterSettings
from resources.services.cluster.manifests import KINDS_OF_A_SERVICE

APPLIED = ("get", "list", "create", "patch", "delete")
ROLES = "deploy/kubernetes/base/accounts.yaml"
ROLES_OF_BUILDS = "deploy/kubernetes/components/builder/accounts.yaml"


@dataclass(frozen=True)
class Right:
    """One verb on one kind."""

    verb: str
    kind: str
    subresource: str = ""

    @property
    def is_of_runs(self) -> bool:
        """Whether run pods alone use it: they train and deploy, others start and end them."""
        return self.verb in ("create", "patch") and self.kind != "Job"

    def __str__(self) -> str:
        return f"{self.verb} {'/'.join(filter(None, (KINDS[self.kind][1], self.subresource)))}"


def used(settings: ClusterSettings) -> list[Right]:
    """Every right that the settings need."""
    rights = [Right(verb, kind) for kind in KINDS_OF_A_SERVICE for verb in APPLIED]
    created = [verb for verb in APPLIED if verb != "patch"]
    rights += [Right(verb, kind) for kind in ("RayJob", "Job") for verb in created]
    rights += [Right("get", "Pod"), Right("list", "Pod"), Right("get", "Pod", "log")]
    rights += [Right("delete", "Pod"), Right("list", "Event")]
    if settings.registry:
        rights += [Right("get", "ConfigMap")]
    if settings.queue:
        rights += [Right("get", "LocalQueue"), Right("list", "Workload")]
    return rights


def used_by_builds() -> list[Right]:
    """Every right that run pods need where images are built."""
    rights = [Right(verb, "Job") for verb in ("create", "get", "delete")]
    return [*rights, Right("list", "Pod"), Right("get", "Pod", "log"), Right("list", "Event")]


def check_rights(cluster: Cluster) -> Iterator[Finding]:
    """One finding of what every part of the platform does, and one of what run pods do."""
    denied = _denied(cluster, used(cluster.settings))
    yield _finding("rights", [r for r in denied if not r.is_of_runs], cluster.namespace, ROLES)
    of_runs = [r for r in denied if r.is_of_runs]
    yield _of_runs("rights of runs", of_runs, cluster, cluster.namespace, ROLES)


def check_build_rights(cluster: Cluster) -> Iterator[Finding]:
    """What run pods do where images are built."""
    settings = cluster.settings
    if settings.registry and settings.build_namespace:
        denied = _denied(cluster.within(settings.build_namespace), used_by_builds())
        yield _of_runs(
            "rights of builds", denied, cluster, settings.build_namespace, ROLES_OF_BUILDS
        )


def _denied(cluster: Cluster, rights: list[Right]) -> list[Right]:
    return [r for r in rights if not cluster.may(r.verb, r.kind, r.subresource)]


def _of_runs(
    name: str, denied: list[Right], cluster: Cluster, namespace: str, roles: str
) -> Finding:
    """What lacks; not known where another part of the platform looks."""
    settings, who = cluster.settings, cluster.who()
    parts = f"system:serviceaccount:{settings.namespace}:"
    account = f"{parts}{settings.service_account}"
    if denied and who.startswith(parts) and who != account:
        return skipped(
            name,
            f"{who} does not train or deploy; run pods are {account}",
            f"look yourself: kubectl auth can-i --list --namespace {namespace} --as {account}",
        )
    return _finding(name, denied, namespace, roles)


def _finding(name: str, denied: list[Right], namespace: str, roles: str) -> Finding:
    if not denied:
        return fine(name, f"all that is done in {namespace} is allowed")
    return missing(
        name,
        f"this process may not {', '.join(map(str, denied))} in {namespace}",
        f"bind its service account to the roles of {roles}, or grant these rights",
    )
