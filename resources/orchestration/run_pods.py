"""The adapter to run pods: the Jobs and pods that execute dagster_runs on a cluster.

timeout, retry: one attempt a call, for everything here is asked again within seconds; what cannot
    be known says so.
cancel: a call is one request.
duplicate: reading changes nothing, and a Job is deleted once.
partial write: a Job that was deleted takes its pods along; one that was not is found again.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any

from dagster_k8s.job import get_job_name_from_run_id

from resources.kubernetes_api.client import Cluster, ClusterRefused, ClusterUnavailable
from resources.kubernetes_api.pod_status import has_no_node, troubles_of

log = logging.getLogger(__name__)
RUN_LABEL = "dagster/run-id"
ENDED = ("Complete", "Failed")
AWAY = "waits for the Kubernetes API, which does not answer"
OVER_QUOTA = "exceeded quota"
REFUSED = "FailedCreate"


class RunPods:
    """Run pods of one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster.brief()

    def trouble_of(self, run_id: str) -> str:
        """What keeps the pod of the dagster_run from running: no node, no image, a refusal."""
        try:
            pods = list(self._cluster.find("Pod", f"{RUN_LABEL}={run_id}"))
            said = [text for pod in pods for text in troubles_of(pod)]
            if not pods:
                said = self._refusals(run_id)[-1:]
        except ClusterUnavailable as error:
            return f"{AWAY}: {error}"
        except ClusterRefused as error:
            log.warning("it is not known why the pod of %s does not run: %s", run_id, error)
            return ""
        return "; ".join(said)

    def outage(self) -> str:
        """Whether the Kubernetes API does not answer."""
        try:
            self._cluster.version()
        except ClusterUnavailable as error:
            return f"{AWAY}: {error}"
        except ClusterRefused as error:
            log.warning("the Kubernetes API does not tell its version: %s", error)
        return ""

    def waits_for_room(self, run_id: str) -> bool:
        """Whether the pod of the dagster_run waits for what comes by itself: room on a node, room
        in a quota, or the Kubernetes API."""
        try:
            pods = list(self._cluster.find("Pod", f"{RUN_LABEL}={run_id}"))
            if not pods:
                return any(OVER_QUOTA in text for text in self._refusals(run_id)[-1:])
        except ClusterUnavailable:
            return True
        except ClusterRefused as error:
            log.warning("it is not known what the pod of %s waits for: %s", run_id, error)
            return False
        return any(map(has_no_node, pods))

    def has_room(self) -> bool:
        """Whether every run pod has its node; while one has none, another has none either."""
        from kubernetes.config import ConfigException

        try:
            pods = self._cluster.find(
                "Pod", "app.kubernetes.io/component=run", "status.phase=Pending"
            )
            return not any(map(has_no_node, pods))
        except (ClusterUnavailable, ClusterRefused, ConfigException):
            # The launch itself meets the same, and says what it is.
            return True

    def end_abandoned(self, is_going: Callable[[str], bool]) -> list[str]:
        """Names of Jobs whose dagster_run is over, now deleted: they would start late."""
        ended = []
        for job in self._unended():
            if not is_going(job["metadata"]["labels"][RUN_LABEL]):
                ended.append(job["metadata"]["name"])
                self._cluster.delete("Job", ended[-1])
        return ended

    def _unended(self) -> Iterator[dict[str, Any]]:
        for job in self._cluster.find("Job", RUN_LABEL):
            conditions = (job.get("status") or {}).get("conditions") or ()
            if not any(c["type"] in ENDED and c["status"] == "True" for c in conditions):
                yield job

    def _refusals(self, run_id: str) -> list[str]:
        """Why the dagster_run's Job was given no pod, oldest first."""
        events = self._cluster.events(get_job_name_from_run_id(run_id))
        return [event for event in events if event.startswith(REFUSED)]
