"""The pods of a service, or of one version of it: how many answer, and how well."""

from typing import Any

import httpx

from resources.cluster import Cluster
from resources.pod_state import is_ready, restarts_of, troubles_of
from resources.service_objects import PORT, VERSION_LABEL
from serving.contract import ReplicaStatus

SCRAPE_S = 2.0


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

    def restarts(self) -> int:
        """How often their containers have been started again."""
        return sum(restarts_of(pod) for pod in self.all())

    def answers(self) -> tuple[int, int]:
        """Requests that they have answered, and those answered with 5xx."""
        answered = errors = 0
        for pod in self.all():
            if is_ready(pod):
                for status, count in _counted(pod["status"]["podIP"]).items():
                    answered += count
                    errors += count if status.startswith("5") else 0
        return answered, errors

    def replicas(self) -> list[ReplicaStatus]:
        """What is known of each."""
        return [_replica(pod) for pod in self.all()]


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


def _counted(host: str) -> dict[str, int]:
    """Requests by HTTP status that a pod says it has answered; nothing where it does not say."""
    try:
        page = httpx.get(f"http://{host}:{PORT}/metrics", timeout=SCRAPE_S).text
    except httpx.HTTPError:
        return {}
    found = {}
    for line in page.splitlines():
        if line.startswith("predict_requests_total{"):
            labels, _, count = line.rpartition(" ")
            found[labels.partition('status="')[2].partition('"')[0]] = int(float(count))
    return found
