"""The pods of a service, or of one version of it: how many answer, and how well."""

import functools
import time
from typing import Any

import httpx

from resources.kubernetes_api.client import Cluster
from resources.kubernetes_api.pod_status import (
    false_starts_of,
    is_overdue,
    is_ready,
    is_stuck,
    restarts_of,
    troubles_of,
    troubles_of_deployment,
)
from resources.services.cluster.manifests import PORT
from resources.services.cluster.version import VERSION_LABEL
from serving.contract import ReplicaStatus

SCRAPE_S = 2.0
MOST_DEATHS = 3
"""How often a pod may die before it is ready."""
MOST_ERRORS = 0.02
"""Share of server errors at which a canary is rolled back."""


class VersionPods:
    """The pods with some labels, read anew at every question."""

    def __init__(self, cluster: Cluster, labels: dict[str, str]) -> None:
        self._cluster = cluster
        self._selector = ",".join(f"{name}={value}" for name, value in labels.items())

    def all(self) -> list[dict[str, Any]]:
        """The pods as the cluster has them."""
        return list(self._cluster.find("Pod", self._selector))

    def troubles(self) -> str:
        """Everything that keeps them from running, each thing once."""
        said = [text for pod in self.all() for text in troubles_of(pod)]
        return "; ".join(dict.fromkeys(said))

    def restarts(self) -> dict[str, int]:
        """How often the containers of each have been started again."""
        return {pod["metadata"]["name"]: restarts_of(pod) for pod in self.all()}

    def deaths(self) -> dict[str, int]:
        """The same, with what comes before the containers."""
        return {p["metadata"]["name"]: restarts_of(p) + false_starts_of(p) for p in self.all()}

    def answers(self) -> dict[str, tuple[int, int]]:
        """Requests that each has answered, and those of them answered with 5xx."""
        counts = {}
        for pod in self.all():
            if is_ready(pod) and (counted := _counted(pod["status"]["podIP"])) is not None:
                errors = sum(count for status, count in counted.items() if status[:1] == "5")
                counts[pod["metadata"]["name"]] = sum(counted.values()), errors
        return counts

    def replicas(self) -> list[ReplicaStatus]:
        """What is known of each."""
        return [_replica(pod) for pod in self.all()]


class Start:
    """The pods on their way to being ready."""

    def __init__(self, pods: VersionPods, stuck_s: float) -> None:
        self._pods, self._stuck_s = pods, stuck_s
        self._deaths = pods.deaths()
        self._stuck_since: float | None = None
        self.said = ""
        """What keeps them, as far as they have said."""

    def fault(self, kubernetes_deployment: dict[str, Any]) -> str:
        """Why they will not become ready; empty while they may."""
        said = [*troubles_of_deployment(kubernetes_deployment), self._pods.troubles()]
        self.said = "; ".join(filter(None, said))
        if is_overdue(kubernetes_deployment):
            return "did not become ready in time"
        if most_more(self._deaths, self._pods.deaths()) >= MOST_DEATHS:
            return "does not start"
        now = time.monotonic()
        self._stuck_since = (self._stuck_since or now) if is_stuck(self.said) else None
        if self._stuck_since and now - self._stuck_since > self._stuck_s:
            return "cannot start"
        return ""


class Conduct:
    """What the pods have done since they were first looked at."""

    def __init__(self, pods: VersionPods) -> None:
        self._pods = pods
        self._answers, self._restarts = pods.answers(), pods.restarts()

    def fault(self) -> str:
        """Why they should not have traffic; empty while they do well."""
        answered, errors = self._answered(self._pods.answers())
        # Among the first few requests a single error would be more than the share.
        if errors > max(1, MOST_ERRORS * answered):
            return f"answered {errors} of {answered} requests with errors"
        if most_more(self._restarts, self._pods.restarts()):
            return f"died ({self._pods.troubles()})"
        return ""

    def _answered(self, now: dict[str, tuple[int, int]]) -> tuple[int, int]:
        """Requests and errors since then; counts that have begun anew count whole."""
        answered = errors = 0
        for pod, (all_answered, all_errors) in now.items():
            earlier = self._answers.get(pod, (0, 0))
            if all_answered < earlier[0]:
                earlier = (0, 0)
            answered += all_answered - earlier[0]
            errors += all_errors - earlier[1]
        return answered, errors


def most_more(before: dict[str, int], now: dict[str, int]) -> int:
    """By how much the count of any pod has grown at most."""
    return max((count - before.get(pod, 0) for pod, count in now.items()), default=0)


def _replica(pod: dict[str, Any]) -> ReplicaStatus:
    is_stopping = "deletionTimestamp" in pod["metadata"]
    state = "stopping" if is_stopping else "ready" if is_ready(pod) else "starting"
    return ReplicaStatus(
        version=pod["metadata"]["labels"][VERSION_LABEL],
        pid=0,
        port=PORT,
        state=state,
        restarts=restarts_of(pod),
    )


@functools.cache
def _client() -> httpx.Client:
    """Pods are reached without the proxy that leads out of the cluster."""
    return httpx.Client(timeout=SCRAPE_S, trust_env=False)


def _counted(host: str) -> dict[str, int] | None:
    """Requests by HTTP status that a pod says it has answered; None where it does not say."""
    named = f"[{host}]" if ":" in host else host
    try:
        page = _client().get(f"http://{named}:{PORT}/metrics")
    except httpx.HTTPError:
        return None
    counts = {}
    for line in page.text.splitlines():
        if line.startswith("predict_requests_total{"):
            labels, _, count = line.rpartition(" ")
            counts[labels.partition('status="')[2].partition('"')[0]] = int(float(count))
    return counts
