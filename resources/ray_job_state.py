"""What a RayJob and its pods say of themselves, in a sentence for whoever waits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from resources.cluster import Cluster
from resources.pod_state import troubles_of

RUNNING = {"Running"}
OVER = {"Complete", "Failed"}
QUEUED = {"Suspended", "Suspending"}
LAST_EVENTS = 3


@dataclass(frozen=True)
class RayJobState:
    """Where a RayJob stands."""

    is_running: bool
    is_over: bool
    did_well: bool
    message: str
    """What to tell; empty while there is nothing but to wait for pods."""

    @classmethod
    def of(cls, ray_job: Mapping[str, Any] | None) -> Self:
        """The state of the object; None is one that somebody has deleted."""
        if ray_job is None:
            return cls(False, True, False, "the RayJob is gone: somebody deleted it")
        if "deletionTimestamp" in ray_job["metadata"]:
            return cls(False, True, False, "the RayJob is being deleted")
        status = ray_job.get("status") or {}
        stage, outcome = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
        if stage in OVER or outcome in ("SUCCEEDED", "FAILED", "STOPPED"):
            why = " ".join(filter(None, [status.get("reason"), status.get("message")]))
            return cls(False, True, outcome == "SUCCEEDED", f"the RayJob ended: {outcome} {why}")
        if stage in QUEUED or (not stage and ray_job["spec"].get("suspend")):
            return cls(False, False, False, "")
        if stage in RUNNING:
            return cls(True, False, False, "runs on the cluster")
        return cls(False, False, False, "")


def diagnosis(cluster: Cluster, name: str) -> str:
    """Why the RayJob of this name does not run: its queue, its pods, its last events."""
    found = cluster.get("RayJob", name)
    if found is None:
        return ""
    pods = list(cluster.find("Pod", f"ray.io/originated-from-cr-name={name}"))
    said = [text for pod in pods for text in troubles_of(pod)]
    if not pods and found["spec"].get("suspend"):
        said.append(_of_queue(cluster, found))
    if not said:
        said = cluster.events(name)[-LAST_EVENTS:]
    return "; ".join(dict.fromkeys(said)) or "waits for its pods"


def _of_queue(cluster: Cluster, ray_job: Mapping[str, Any]) -> str:
    queue = ray_job["metadata"]["labels"].get("kueue.x-k8s.io/queue-name", "")
    uid = ray_job["metadata"]["uid"]
    for workload in cluster.find("Workload"):
        owners = workload["metadata"].get("ownerReferences", ())
        if any(owner["uid"] == uid for owner in owners):
            conditions = (workload.get("status") or {}).get("conditions", ())
            why = [c["message"] for c in conditions if c.get("message") and c["type"] != "Admitted"]
            return f"waits in queue {queue}: {why[-1] if why else 'not admitted yet'}"
    return f"waits in queue {queue}"
