"""The adapter to run pods: the Jobs and pods that execute dagster_runs on a cluster.

timeout, retry: one attempt a call, for everything here is asked again within seconds; what cannot
    be known says so.
cancel: a call is one request.
duplicate: reading changes nothing, and a Job is deleted once.
partial write: a Job that was deleted takes its pods along; one that was not is found again.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dagster_k8s.job import get_job_name_from_run_id

from resources.kubernetes_api.client import Cluster, ClusterRefused, ClusterUnavailable
from resources.kubernetes_api.pod_status import has_no_node, scheduled_s_ago, troubles_of

log = logging.getLogger(__name__)
RUN_LABEL = "dagster/run-id"
# Pods of steps have the labels of run pods, and that of their op besides.
RUN_PODS = "app.kubernetes.io/component=run,!dagster/op"
SEEN_S = 2.0
ENDED = ("Complete", "Failed")
AWAY = "waits for the Kubernetes API, which does not answer"
OVER_QUOTA = "exceeded quota"
REFUSED = "FailedCreate"


class RunPods:
    """Run pods of one namespace. One look at all of them serves everybody for `SEEN_S`, because the
    API server's work must not grow with the number of jobs."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster.brief()
        self._looking = threading.Lock()
        self._seen, self._looked = Seen(), float("-inf")

    def trouble_of(self, run_id: str) -> str:
        """What keeps the pod of the dagster_run from running: no node, no image, a refusal."""
        seen = self._look()
        if seen.away:
            return seen.away
        pods = seen.pods_of(run_id)
        return "; ".join(text for pod in pods for text in troubles_of(pod)) or (
            "" if pods else seen.refusal_of(run_id)
        )

    def outage(self) -> str:
        """Whether the Kubernetes API does not answer."""
        return self._look().away

    def waits_for_room(self, run_id: str, start_s: float) -> bool:
        """Whether the pod of the dagster_run waits for what comes by itself: room on a node, room
        in a quota, or the Kubernetes API. One that has a node has so many seconds to start."""
        seen = self._look()
        pods = seen.pods_of(run_id)
        if seen.away or not pods:
            return bool(seen.away) or OVER_QUOTA in seen.refusal_of(run_id)
        return any(has_no_node(pod) or scheduled_s_ago(pod) < start_s for pod in pods)

    def has_room(self) -> bool:
        """Whether every run pod has its node; while one has none, another has none either.

        True where that is not known: the launch itself meets the same, and says what it is.
        """
        return not any(has_no_node(pod) for pods in self._look().pods.values() for pod in pods)

    def _look(self) -> "Seen":
        """What was seen last; who comes while another looks does not wait."""
        is_old = time.monotonic() - self._looked > SEEN_S
        if is_old and self._looking.acquire(blocking=False):
            try:
                self._seen = self._newly_seen()
                self._looked = time.monotonic()
            finally:
                self._looking.release()
        return self._seen

    def _newly_seen(self) -> "Seen":
        from kubernetes.config import ConfigException

        seen = Seen()
        try:
            for pod in self._cluster.find("Pod", RUN_PODS):
                run_id = pod["metadata"]["labels"].get(RUN_LABEL, "")
                seen.pods.setdefault(run_id, []).append(pod)
            events = self._cluster.find("Event", fields=f"reason={REFUSED}")
            for event in sorted(events, key=lambda event: event.get("lastTimestamp") or ""):
                name = (event.get("involvedObject") or {}).get("name", "")
                seen.refusals[name] = f"{REFUSED}: {event.get('message', '')}"
        except ClusterUnavailable as error:
            seen.away = f"{AWAY}: {error}"
        except (ClusterRefused, ConfigException) as error:
            log.warning("it is not known how run pods are: %s", error)
        return seen

    def end_abandoned(self, is_going: Callable[[str], bool]) -> list[str]:
        """Names of Jobs whose dagster_run is over, now deleted: they would start late."""
        ended = []
        for job in self._unended():
            name = job["metadata"]["name"]
            if is_going(job["metadata"]["labels"][RUN_LABEL]):
                continue
            try:
                self._cluster.delete("Job", name)
                ended.append(name)
            except ClusterRefused as error:
                # One that cannot be deleted keeps no other.
                log.warning("Job %s is left: %s", name, error)
        return ended

    def _unended(self) -> Iterator[dict[str, Any]]:
        # Another Dagster may have Jobs in the namespace.
        for job in self._cluster.find("Job", f"app.kubernetes.io/managed-by=orrery,{RUN_LABEL}"):
            conditions = (job.get("status") or {}).get("conditions") or ()
            if not any(c["type"] in ENDED and c["status"] == "True" for c in conditions):
                yield job


@dataclass
class Seen:
    """Run pods, and refusals to make one, at one moment."""

    pods: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By dagster_run."""
    refusals: dict[str, str] = field(default_factory=dict)
    """The newest by the name of the Job."""
    away: str = ""
    """What to say where the Kubernetes API did not answer."""

    def pods_of(self, run_id: str) -> list[dict[str, Any]]:
        """Pods of the dagster_run."""
        return self.pods.get(run_id, [])

    def refusal_of(self, run_id: str) -> str:
        """Why the dagster_run's Job was given no pod; empty where it was not refused."""
        return self.refusals.get(get_job_name_from_run_id(run_id), "")
