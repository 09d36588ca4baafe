"""What the platform does with a namespace, as rights that may lack."""

from collections.abc import Iterator
from dataclasses import dataclass

from resources.cluster import KINDS, Cluster
from resources.cluster_settings import ClusterSettings
from resources.doctor.finding import Finding, fine, missing, skipped
from resources.service_objects import KINDS_OF_A_SERVICE

APPLIED = ("get", "list", "create", "patch", "delete")
ROLES = "deploy/kubernetes/base/accounts.yaml"


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
    found = [Right(verb, kind) for kind in KINDS_OF_A_SERVICE for verb in APPLIED]
    created = [verb for verb in APPLIED if verb != "patch"]
    found += [Right(verb, kind) for kind in ("RayJob", "Job") for verb in created]
    found += [Right("get", "Pod"), Right("list", "Pod"), Right("get", "Pod", "log")]
    found += [Right("delete", "Pod"), Right("list", "Event")]
    if settings.queue:
        found += [Right("get", "LocalQueue"), Right("list", "Workload")]
    return found


def check_rights(cluster: Cluster) -> Iterator[Finding]:
    """One finding of what every part of the platform does, and one of what run pods do."""
    settings, who = cluster.settings, cluster.who()
    denied = [r for r in used(settings) if not cluster.may(r.verb, r.kind, r.subresource)]
    account = f"system:serviceaccount:{settings.namespace}:{settings.service_account}"
    is_another = who.startswith(f"system:serviceaccount:{settings.namespace}:") and who != account
    yield _told("rights", [r for r in denied if not r.is_of_runs], settings.namespace)
    of_runs = [r for r in denied if r.is_of_runs]
    if of_runs and is_another:
        yield skipped(
            "rights of runs",
            f"{who} does not train or deploy; run pods are {account}",
            f"look yourself: kubectl auth can-i --list --namespace {settings.namespace} "
            f"--as {account}",
        )
        return
    yield _told("rights of runs", of_runs, settings.namespace)


def _told(name: str, denied: list[Right], namespace: str) -> Finding:
    if not denied:
        return fine(name, f"all that is done in {namespace} is allowed")
    return missing(
        name,
        f"this process may not {', '.join(map(str, denied))} in {namespace}",
        f"bind its service account to the roles of {ROLES}, or grant these rights",
    )
