"""What the platform does with a namespace: the rights that each of its accounts uses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from resources.kubernetes_api.kinds import KINDS
from resources.kubernetes_api.settings import ClusterSettings

GATEWAY, DAEMON, RUNS = "orrery-gateway", "orrery-daemon", "orrery-run"
COLLECTION = "orrery-collection"
"""Accounts by their names in `deploy/kubernetes/base`; settings may name another for run pods."""


@dataclass(frozen=True)
class Right:
    """One verb on one kind."""

    verb: str
    kind: str
    subresource: str = ""

    @property
    def resource(self) -> str:
        """The kind as roles name it."""
        return "/".join(filter(None, (KINDS[self.kind][1], self.subresource)))

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


@dataclass(frozen=True)
class Use:
    """What an account does with a kind, where the setting `when` is set, if one is named."""

    kind: str
    verbs: str
    subresource: str = ""
    when: str = ""


OF_A_SERVICE = ("HorizontalPodAutoscaler", "PodDisruptionBudget", "ScaledObject")
"""Kinds that a service has or not, as it is declared."""
USES: dict[str, tuple[Use, ...]] = {
    GATEWAY: (
        Use("Pod", "list delete"),
        Use("Event", "list"),
        Use("Job", "delete"),
        Use("Service", "get list delete"),
        Use("Deployment", "list delete"),
        *(Use(kind, "list delete") for kind in OF_A_SERVICE),
        Use("HTTPRoute", "get list delete"),
    ),
    DAEMON: (
        Use("Pod", "list delete"),
        Use("Pod", "get", "log"),
        Use("Event", "list"),
        Use("Job", "get list create delete"),
        Use("Job", "get", "status"),
        Use("RayJob", "list delete"),
        Use("Service", "get list patch delete"),
        Use("Deployment", "list patch delete"),
        *(Use(kind, "list create patch delete") for kind in OF_A_SERVICE),
        Use("HTTPRoute", "get list patch delete"),
    ),
    COLLECTION: (
        Use("Pod", "list"),
        Use("Service", "list"),
        Use("Deployment", "list"),
        Use("HTTPRoute", "get"),
    ),
    RUNS: (
        Use("Pod", "list delete"),
        Use("Event", "list"),
        Use("ConfigMap", "get", when="registry"),
        Use("Job", "create delete"),
        Use("Job", "get", "status"),
        Use("RayJob", "get create delete"),
        Use("Workload", "list", when="queue"),
        Use("NetworkPolicy", "create"),
        Use("Service", "get list create patch delete"),
        Use("Deployment", "get list create patch delete"),
        *(Use(kind, "list create patch delete") for kind in OF_A_SERVICE),
        Use("HTTPRoute", "get list create patch delete"),
    ),
}
"""What each account does in the platform's namespace."""
USES_OF_BUILDS: dict[str, tuple[Use, ...]] = {
    RUNS: (
        Use("Job", "create get delete"),
        Use("Pod", "list"),
        Use("Pod", "get", "log"),
        Use("Event", "list"),
    ),
}
"""What each account does in the namespace in which images are built."""
LOOKS: dict[str, tuple[Use, ...]] = {
    GATEWAY: (
        Use("LocalSubjectAccessReview", "create"),
        Use("Namespace", "get"),
        Use("ConfigMap", "get"),
        Use("ResourceQuota", "list"),
        Use("LimitRange", "list"),
        Use("NetworkPolicy", "list"),
        Use("Deployment", "list"),
        Use("Pod", "list"),
        Use("RayJob", "list"),
        Use("LocalQueue", "get", when="queue"),
        Use("Gateway", "get", when="gateway"),
    ),
}
"""What the doctor looks with, in the platform's namespace; a check whose right lacks is skipped."""
LOOKS_AT_BUILDS: dict[str, tuple[Use, ...]] = {
    GATEWAY: (Use("LocalSubjectAccessReview", "create"), Use("Namespace", "get")),
}
"""What the doctor looks with in the namespace of builds."""


def rights(uses: Sequence[Use], settings: ClusterSettings) -> list[Right]:
    """One right for each verb of those that the settings need."""
    return list(dict.fromkeys(_each(uses, settings)))


def _each(uses: Sequence[Use], settings: ClusterSettings) -> Iterator[Right]:
    for use in uses:
        if not use.when or getattr(settings, use.when):
            for verb in use.verbs.split():
                yield Right(verb, use.kind, use.subresource)
