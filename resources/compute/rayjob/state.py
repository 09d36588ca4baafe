"""The state of a RayJob and its pods, in one sentence for a person."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from engine.cause import Cause
from resources.compute.rayjob.manifest import JOB_LABEL, QUEUE_LABEL
from resources.kubernetes_api.client import Cluster
from resources.kubernetes_api.pod_status import troubles_of

OVER = {"Complete", "Failed", "ValidationFailed"}
ENDED = {"SUCCEEDED", "FAILED", "STOPPED"}
LAST_EVENTS = 3


@dataclass(frozen=True)
class RayJobState:
    """Where a RayJob stands."""

    is_running: bool
    is_over: bool
    did_well: bool
    is_refused: bool
    """Whether KubeRay takes the object for one that can never work."""
    message: str
    """What to tell; empty while there is nothing but to wait for pods."""

    @classmethod
    def of(cls, ray_job: Mapping[str, Any] | None) -> Self:
        """The state of the object; None is one that somebody has deleted."""
        if ray_job is None:
            return cls.over("the RayJob is gone: somebody deleted it")
        if "deletionTimestamp" in ray_job["metadata"]:
            return cls.over("the RayJob is being deleted")
        status = ray_job.get("status") or {}
        stage, outcome = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
        if stage in OVER or outcome in ENDED:
            said = filter(None, [outcome or stage, status.get("reason"), status.get("message")])
            return cls.over(
                f"the RayJob ended: {' '.join(said)}",
                did_well=outcome == "SUCCEEDED",
                is_refused=stage == "ValidationFailed",
            )
        is_running = stage == "Running"
        return cls(is_running, False, False, False, "runs on the cluster" if is_running else "")

    @classmethod
    def unknown(cls) -> Self:
        """The state of one that was not seen yet."""
        return cls(False, False, False, False, "")

    @classmethod
    def over(cls, message: str, did_well: bool = False, is_refused: bool = False) -> Self:
        """The state of one that has ended."""
        return cls(False, True, did_well, is_refused, message)


def cause_of_loss(message: str) -> Cause:
    """Why an attempt was lost, by what the cluster says of its end."""
    if re.search(r"OOMKilled|out of memory", message, re.IGNORECASE):
        return "out_of_memory"
    if re.search(r"Evicted|Preempt|NodeLost|node .*(not ready|shut ?down|lost)", message, re.I):
        return "lost_node"
    return "lost_worker"


def diagnosis(cluster: Cluster, name: str) -> str:
    """Why the RayJob of this name does not run: its queue, its pods, its last events."""
    rayjob = cluster.get("RayJob", name)
    if rayjob is None:
        return ""
    pods = list(cluster.find("Pod", f"{JOB_LABEL}={rayjob['metadata']['labels'][JOB_LABEL]}"))
    said = [text for pod in pods for text in troubles_of(pod)]
    if not pods and rayjob["spec"].get("suspend"):
        said.append(_of_queue(cluster, rayjob))
    if not said:
        ray_cluster = (rayjob.get("status") or {}).get("rayClusterName")
        # Pods that are refused are events of the RayCluster.
        events = cluster.events(ray_cluster) if ray_cluster else []
        said = [event for event in events if event.startswith("Failed")][-LAST_EVENTS:]
    if not said:
        said = cluster.events(name)[-LAST_EVENTS:]
    return "; ".join(dict.fromkeys(said)) or "waits for its pods"


def _of_queue(cluster: Cluster, ray_job: Mapping[str, Any]) -> str:
    queue = ray_job["metadata"]["labels"].get(QUEUE_LABEL, "")
    uid = ray_job["metadata"]["uid"]
    for workload in cluster.find("Workload"):
        owners = workload["metadata"].get("ownerReferences", ())
        if any(owner["uid"] == uid for owner in owners):
            conditions = (workload.get("status") or {}).get("conditions", ())
            why = [c["message"] for c in conditions if c.get("message") and c["type"] != "Admitted"]
            return f"waits in queue {queue}: {why[-1] if why else 'not admitted yet'}"
    return f"waits in queue {queue}"
