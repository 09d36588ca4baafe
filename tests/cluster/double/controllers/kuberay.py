"""A double of the KubeRay operator for RayJobs, as of version 1.7.

It submits every job as in its HTTPMode: to the head, once all pods of the RayCluster are ready.
"""

from collections.abc import Iterable
from typing import Any

from tests.cluster.double.api.client import Client, owner_reference
from tests.cluster.double.api.registry import random_suffix
from tests.cluster.double.api.resource_types import Object
from tests.cluster.double.api.store import Change, parse_time
from tests.cluster.double.controllers.controller import Controller, Key, key_of
from tests.cluster.double.controllers.ray_clusters import CLUSTER, RayClusterController
from tests.cluster.double.controllers.ray_jobs import RayJobs, Submission
from tests.cluster.double.nodes.kubelet import Kubelet

ORIGIN = "ray.io/originated-from-cr-name"
FINALIZER = "ray.io/rayjob-finalizer"
UNREACHABLE_FOR_S = 300.0
SUBMIT_RETRY_S = 0.2

_ENDED = ("Complete", "Failed", "ValidationFailed")
_OVER = ("SUCCEEDED", "FAILED", "STOPPED")


def _validation_error(spec: Object) -> str | None:
    shutdown = spec.get("shutdownAfterJobFinishes", False)
    if spec.get("suspend") and not shutdown:
        return "a RayJob with shutdownAfterJobFinishes set to false is not allowed to be suspended"
    if spec.get("ttlSecondsAfterFinished") and not shutdown:
        return (
            "a RayJob with shutdownAfterJobFinishes set to false cannot have "
            "TTLSecondsAfterFinished"
        )
    if not spec.get("rayClusterSpec") and not spec.get("clusterSelector"):
        return "one of rayClusterSpec or clusterSelector must be set"
    if spec.get("backoffLimit", 0) < 0:
        return "backoffLimit must be a positive integer"
    return None


class RayJobController(Controller):
    """Creates the RayClusters of RayJobs, submits their jobs, and tells how they end.

    A new head knows nothing of the job that the lost one ran. KubeRay takes that for a job not yet
    submitted, and submits it again, whatever `backoffLimit` says and under the same id (#4824);
    without `resubmits` the RayJob fails, as #4984 proposes. With `renews_ids` each submission has
    an id of its own.
    """

    def __init__(self, api: Client, kubelet: Kubelet, clusters: RayClusterController):
        super().__init__(api)
        self.resubmits = True
        self.renews_ids = False
        self.unreachable_for_s = UNREACHABLE_FOR_S
        self._clusters = clusters
        self._jobs = RayJobs(kubelet)

    @property
    def ray_needs(self) -> str:
        """Memory that a head needs for Ray itself."""
        return self._clusters.ray_needs

    @ray_needs.setter
    def ray_needs(self, memory: str) -> None:
        self._clusters.ray_needs = memory

    def submissions(self, name: str, namespace: str | None = None) -> list[Submission]:
        """What was submitted under the RayJob's present id, the oldest first."""
        return self._jobs.all(self.api.get("RayJob", name, namespace)["status"]["jobId"])

    def driver_log(self, name: str, namespace: str | None = None) -> str:
        """What the driver of the newest submission wrote; a file of the head keeps it."""
        return self.submissions(name, namespace)[-1].log.read_text()

    def close_heads(self) -> None:
        """Waits for the drivers, once nothing runs any more."""
        self._jobs.close()

    def keys(self, change: Change) -> Iterable[Key]:
        meta = change.item["metadata"]
        kind, labels = change.resource.kind, meta.get("labels") or {}
        if kind == "RayJob":
            yield key_of(change.item)
        elif kind == "Pod" and CLUSTER in labels:
            cluster = self.api.find("RayCluster", labels[CLUSTER], meta["namespace"])
            labels = cluster["metadata"].get("labels") or {} if cluster else {}
        if kind in ("Pod", "RayCluster") and ORIGIN in labels:
            yield meta["namespace"], labels[ORIGIN]

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        with self.api.store.lock:
            job = self.api.get("RayJob", name, namespace)
            if job["metadata"].get("deletionTimestamp"):
                self._finalize(job)
                return
            status = dict(job.get("status") or {})
            self._step(job, status)
            status["observedGeneration"] = job["metadata"]["generation"]
            status.setdefault("rayClusterStatus", {})
            self.api.set_status("RayJob", name, status, namespace)

    def _step(self, job: Object, status: Object) -> None:
        spec, state = job["spec"], status.get("jobDeploymentStatus", "")
        if state in _ENDED:
            self._clean(job, status)
        elif state in ("Suspending", "Retrying"):
            self._empty(job, status, state)
        elif state in ("Initializing", "Running") and spec.get("suspend"):
            status["jobDeploymentStatus"] = "Suspending"
            self._event(job, "SuspendingRayJob", "the RayJob is being suspended")
            self._empty(job, status, "Suspending")
        elif state in ("Initializing", "Running"):
            self._watch(job, status)
        elif why := _validation_error(spec):
            status.update(jobDeploymentStatus="ValidationFailed", reason="ValidationFailed")
            status["message"] = why
            self._event(job, "ValidateRayJobSpec", why, warning=True)
        elif spec.get("suspend"):
            self._hold(job)
            status["jobDeploymentStatus"] = "Suspended"
        else:
            self._hold(job)
            self._begin(job, status)

    def _event(self, job: Object, reason: str, message: str, warning: bool = False) -> None:
        self.api.event(job, reason, message, warning, "rayjob-controller")

    def _hold(self, job: Object) -> None:
        """Sees to it that the RayJob does not go before its job is told to stop."""
        known = job["metadata"].get("finalizers") or []
        if FINALIZER not in known:
            namespace, name = key_of(job)
            finalizers = {"metadata": {"finalizers": [*known, FINALIZER]}}
            self.api.patch("RayJob", name, finalizers, namespace)

    def _finalize(self, job: Object) -> None:
        """Has Ray stop the job, for which nobody waits, and lets the RayJob go."""
        namespace, name = key_of(job)
        status = job.get("status") or {}
        head = self._clusters.head(namespace, status.get("rayClusterName", ""))
        if head and (result := self._jobs.of(head, status.get("jobId", ""))):
            result.stop()
        self.api.remove_finalizer("RayJob", name, namespace, FINALIZER)

    def _new_id(self, job: Object) -> str:
        return job["spec"].get("jobId") or f"{job['metadata']['name']}-{random_suffix()}"

    def _begin(self, job: Object, status: Object) -> None:
        status.update(
            jobDeploymentStatus="Initializing",
            jobId=self._new_id(job),
            rayClusterName=f"{job['metadata']['name'][:40]}-{random_suffix()}",
            startTime=self.api.store.timestamp(),
            jobStatus="",
        )
        self._create_cluster(job, status["rayClusterName"])
        self.later(key_of(job))

    def _create_cluster(self, job: Object, name: str) -> None:
        meta = job["metadata"]
        origin = {ORIGIN: meta["name"], "ray.io/originated-from-crd": "RayJob"}
        cluster = {
            "apiVersion": job["apiVersion"],
            "kind": "RayCluster",
            "metadata": {
                "name": name,
                "namespace": meta["namespace"],
                "labels": {**(meta.get("labels") or {}), **origin},
                "annotations": meta.get("annotations") or {},
                "ownerReferences": [owner_reference(job)],
            },
            "spec": job["spec"]["rayClusterSpec"],
        }
        self.api.create(cluster)
        self._event(job, "CreatedRayCluster", f"Created RayCluster {meta['namespace']}/{name}")

    def _watch(self, job: Object, status: Object) -> None:
        """Submits the job and follows it to its end, or ends it by its deadlines."""
        if self._overdue(job, status):
            return
        namespace, name = job["metadata"]["namespace"], status["rayClusterName"]
        cluster = self.api.find("RayCluster", name, namespace)
        if cluster is None:
            self._create_cluster(job, name)
            return
        status["rayClusterStatus"] = known = cluster.get("status") or {}
        if status["jobDeploymentStatus"] == "Initializing":
            if known.get("state") != "ready":
                return
            status["jobDeploymentStatus"] = "Running"
            status["dashboardURL"] = f"{name}-head-svc.{namespace}.svc.cluster.local:8265"
        head = self._clusters.head(namespace, name)
        if head is None:
            self._miss(job, status)
        elif result := self._jobs.of(head, status["jobId"]):
            status.pop("jobStatusCheckFailureStartTime", None)
            self._follow(job, status, result)
        elif status.get("jobStatus") and not self.resubmits:
            message = "The Ray job was not found: the head was started anew."
            self._fail(job, status, "AppFailed", message)
        else:
            self._submit(job, status, head)

    def _submit(self, job: Object, status: Object, head: Object) -> None:
        key = key_of(job)
        if status.get("jobStatus") and self.renews_ids:
            status["jobId"] = self._new_id(job)
        created = self._jobs.submit(head, status["jobId"], job["spec"], lambda: self.later(key))
        self.later(key, 0 if created else SUBMIT_RETRY_S)

    def _follow(self, job: Object, status: Object, submission: Submission) -> None:
        message = submission.message
        if submission.status == "FAILED":
            self._fail(job, status, "AppFailed", message)
        elif submission.status in _OVER:
            self._end(status, "Complete", submission.status, "", message)
        else:
            status.update(jobStatus=submission.status, message=message)

    def _miss(self, job: Object, status: Object) -> None:
        """Waits for a head that does not answer, but not for ever."""
        now = self.api.store.now()
        since = status.setdefault("jobStatusCheckFailureStartTime", self.api.store.timestamp())
        left = parse_time(since) + self.unreachable_for_s - now
        if left <= 0:
            message = f"the Ray dashboard did not answer for {self.unreachable_for_s:g} s"
            self._fail(job, status, "JobStatusCheckTimeoutExceeded", message)
        else:
            self.later(key_of(job), left)

    def _overdue(self, job: Object, status: Object) -> bool:
        begun, now = parse_time(status["startTime"]), self.api.store.now()
        limits = {"activeDeadlineSeconds": "DeadlineExceeded"}
        if status["jobDeploymentStatus"] == "Initializing":
            limits["preRunningDeadlineSeconds"] = "PreRunningDeadlineExceeded"
        for field, reason in limits.items():
            if (limit := job["spec"].get(field)) is None:
                continue
            if begun + limit <= now:
                message = f"The RayJob has passed its {field}. StartTime: {status['startTime']}"
                self._end(status, "Failed", status.get("jobStatus", ""), reason, message)
                status["failed"] = status.get("failed", 0) + 1
                return True
            self.later(key_of(job), begun + limit - now)
        return False

    def _fail(self, job: Object, status: Object, reason: str, message: str) -> None:
        status["failed"] = status.get("failed", 0) + 1
        if status["failed"] <= job["spec"].get("backoffLimit", 0):
            status.update(jobDeploymentStatus="Retrying", jobStatus="FAILED")
            status.update(reason=reason, message=message)
            self.later(key_of(job))
        else:
            self._end(status, "Failed", "FAILED", reason, message)

    def _end(self, status: Object, state: str, job_status: str, reason: str, message: str) -> None:
        status.update(jobDeploymentStatus=state, jobStatus=job_status, message=message)
        status["endTime"] = self.api.store.timestamp()
        if reason:
            status["reason"] = reason
        else:
            status.pop("reason", None)
            status["succeeded"] = status.get("succeeded", 0) + 1

    def _empty(self, job: Object, status: Object, state: str) -> None:
        """Clears the cluster away before a suspension or another try, not waiting for its pods."""
        self.api.delete("RayCluster", status["rayClusterName"], job["metadata"]["namespace"])
        fields = ("jobId", "rayClusterName", "dashboardURL", "startTime", "endTime", "reason")
        for field in (*fields, "jobStatusCheckFailureStartTime"):
            status.pop(field, None)
        cleared: dict[str, Any] = {"jobStatus": "", "message": "", "rayClusterStatus": {}}
        status.update(cleared)
        status["jobDeploymentStatus"] = "Suspended" if state == "Suspending" else ""
        self.later(key_of(job))

    def _clean(self, job: Object, status: Object) -> None:
        """Deletes the cluster of a finished job once its time to live is over."""
        if not job["spec"].get("shutdownAfterJobFinishes") or "endTime" not in status:
            return
        ttl = job["spec"].get("ttlSecondsAfterFinished", 0)
        left = parse_time(status["endTime"]) + ttl - self.api.store.now()
        if left > 0:
            self.later(key_of(job), left)
        else:
            self.api.delete("RayCluster", status["rayClusterName"], job["metadata"]["namespace"])
