"""A double of the KubeRay operator for RayJobs.

The entrypoint runs as the process of the head pod's container; worker pods only sleep.
"""

import shlex
from collections.abc import Iterable
from typing import Any

import yaml

from tests.cluster.client import has_condition, owner_reference
from tests.cluster.controller import Controller, Key, key_of
from tests.cluster.errors import ApiError
from tests.cluster.registry import random_suffix
from tests.cluster.resource_types import Object
from tests.cluster.store import Change, parse_time

_ENDED = ("Complete", "Failed", "ValidationFailed")
_SLEEP = ["python", "-c", "import time; time.sleep(10**6)"]
HEAD_GROUP = "headgroup"
CREATE_RETRY_S = 0.2

_ORIGIN = "ray.io/originated-from-cr-name"


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


def _failure(pod: Object) -> tuple[str, str]:
    """Reason and message of a job whose head pod failed."""
    status = pod["status"]
    if status.get("reason"):
        return "JobStatusCheckTimeoutExceeded", f"the head pod was lost: {status['reason']}"
    for each in status.get("containerStatuses") or ():
        if ended := each["state"].get("terminated"):
            code, reason = ended["exitCode"], ended["reason"]
            message = f"Job entrypoint command failed with exit code {code} ({reason})"
            return "AppFailed", message
    return "AppFailed", "Job entrypoint command failed"


class RayJobController(Controller):
    """Creates the pods of RayJobs, runs their entrypoints, and tells how they end."""

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.kind == "RayJob":
            yield key_of(change.item)
        elif change.resource.kind == "Pod":
            namespace = change.item["metadata"]["namespace"]
            labels = change.item["metadata"].get("labels") or {}
            cluster = self.api.find("RayCluster", labels.get("ray.io/cluster", ""), namespace)
            if cluster:
                yield namespace, cluster["metadata"]["labels"][_ORIGIN]

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        with self.api.store.lock:
            job = self.api.get("RayJob", name, namespace)
            if job["metadata"].get("deletionTimestamp"):
                return
            status = dict(job.get("status") or {})
            labels = f"ray.io/cluster={status.get('rayClusterName', '')}"
            pods = self.api.list("Pod", namespace, labels)
            self._step(job, status, pods)
            status["observedGeneration"] = job["metadata"]["generation"]
            status.setdefault("rayClusterStatus", {})
            self.api.set_status("RayJob", name, status, namespace)

    def _step(self, job: Object, status: Object, pods: list[Object]) -> None:
        spec, state = job["spec"], status.get("jobDeploymentStatus", "")
        if state in _ENDED:
            self._clean(job, status, pods)
        elif state in ("Suspending", "Retrying"):
            self._empty(job, status, pods, state)
        elif state in ("Initializing", "Running") and spec.get("suspend"):
            status["jobDeploymentStatus"] = "Suspending"
            self._event(job, "SuspendingRayJob", "the RayJob is being suspended")
            self._empty(job, status, pods, "Suspending")
        elif state in ("Initializing", "Running"):
            self._watch(job, status, pods)
        elif why := _validation_error(spec):
            status.update(jobDeploymentStatus="ValidationFailed", reason="ValidationFailed")
            status["message"] = why
            self._event(job, "ValidateRayJobSpec", why, warning=True)
        elif spec.get("suspend"):
            status["jobDeploymentStatus"] = "Suspended"
        else:
            self._begin(job, status)

    def _event(self, job: Object, reason: str, message: str, warning: bool = False) -> None:
        self.api.event(job, reason, message, warning, "rayjob-controller")

    def _begin(self, job: Object, status: Object) -> None:
        name = job["metadata"]["name"]
        status.update(
            jobDeploymentStatus="Initializing",
            jobId=job["spec"].get("jobId") or f"{name}-{random_suffix()}",
            rayClusterName=f"{name[:40]}-{random_suffix()}",
            startTime=self.api.store.timestamp(),
            jobStatus="",
        )
        self._create_cluster(job, status["rayClusterName"])
        self.later(key_of(job))

    def _create_cluster(self, job: Object, name: str) -> None:
        meta = job["metadata"]
        origin = {_ORIGIN: meta["name"], "ray.io/originated-from-crd": "RayJob"}
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

    def _ensure(self, job: Object, status: Object, pods: list[Object]) -> None:
        """Creates the head before the job runs, and at any time the workers that are missing."""
        cluster = job["spec"]["rayClusterSpec"]
        kinds = [pod["metadata"]["labels"]["ray.io/group"] for pod in pods]
        failed = [pod for pod in pods if pod["status"].get("phase") == "Failed"]
        if status["jobDeploymentStatus"] == "Initializing" and HEAD_GROUP not in kinds:
            self._pod(job, status, "head", HEAD_GROUP, cluster["headGroupSpec"]["template"])
        for group in cluster.get("workerGroupSpecs") or ():
            name = group["groupName"]
            self._delete([p for p in failed if p["metadata"]["labels"]["ray.io/group"] == name])
            for _ in range(group.get("replicas", 0) - kinds.count(name)):
                self._pod(job, status, "worker", name, group["template"])

    def _pod(self, job: Object, status: Object, kind: str, group: str, template: Object) -> None:
        cluster = status["rayClusterName"]
        owner = self.api.get("RayCluster", cluster, job["metadata"]["namespace"])
        meta, spec = template.get("metadata") or {}, dict(template["spec"])
        first, *others = spec["containers"]
        first = {key: value for key, value in first.items() if key not in ("command", "args")}
        if kind == "head":
            first["command"] = shlex.split(job["spec"].get("entrypoint", ""))
            own = yaml.safe_load(job["spec"].get("runtimeEnvYAML") or "") or {}
            extra = {
                "RAY_JOB_SUBMISSION_ID": status["jobId"],
                "RAY_CLUSTER_NAME": cluster,
                **(own.get("env_vars") or {}),
            }
            named = [each for each in first.get("env") or () if each["name"] not in extra]
            added = [{"name": name, "value": str(value)} for name, value in extra.items()]
            first["env"] = named + added
            spec["restartPolicy"] = "Never"
        else:
            first["command"] = _SLEEP
            for probe in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
                first.pop(probe, None)
        spec["containers"] = [first, *others]
        labels = {
            **(meta.get("labels") or {}),
            "ray.io/cluster": cluster,
            "ray.io/node-type": kind,
            "ray.io/group": group,
            "ray.io/identifier": f"{cluster}-{kind}",
            "ray.io/is-ray-node": "yes",
        }
        suffix = "head" if kind == "head" else f"{group}-worker"
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{cluster}-{suffix}-{random_suffix()}",
                "namespace": job["metadata"]["namespace"],
                "labels": labels,
                "annotations": meta.get("annotations") or {},
                "ownerReferences": [owner_reference(owner)],
            },
            "spec": spec,
        }
        try:
            self.api.create(pod)
        except ApiError as error:
            name = f"{job['metadata']['namespace']}/{pod['metadata']['name']}"
            message = f"Failed to create {kind} Pod {name}, {error.message}"
            reason = f"FailedToCreate{kind.capitalize()}Pod"
            self.api.event(owner, reason, message, True, "raycluster-controller")
            self.later(key_of(job), CREATE_RETRY_S)

    def _watch(self, job: Object, status: Object, pods: list[Object]) -> None:
        """Follows the head pod to its end, or ends the job by its deadlines."""
        if self._overdue(job, status):
            return
        cluster = status["rayClusterName"]
        mine = [pod for pod in pods if pod["metadata"]["labels"]["ray.io/cluster"] == cluster]
        if not any(pod["status"].get("phase") == "Succeeded" for pod in mine):
            self._ensure(job, status, mine)
        heads = [p for p in mine if p["metadata"]["labels"]["ray.io/node-type"] == "head"]
        head = heads[0] if heads else None
        phase = head["status"].get("phase") if head else None
        if phase == "Succeeded":
            self._end(status, "Complete", "SUCCEEDED", "", "Job finished successfully.")
        elif status["jobDeploymentStatus"] == "Initializing" and head is None:
            return
        elif head is None or head["metadata"].get("deletionTimestamp"):
            lost = "the head pod was lost: deleted"
            self._fail(job, status, "JobStatusCheckTimeoutExceeded", lost)
        elif phase == "Failed":
            self._fail(job, status, *_failure(head))
        elif phase == "Running" and status["jobDeploymentStatus"] == "Initializing":
            status.update(jobDeploymentStatus="Running", jobStatus="RUNNING")
            status["message"] = "Job is currently running."
            status["rayClusterStatus"] = {
                "state": "ready",
                "head": {"podIP": head["status"]["podIP"]},
            }
        elif phase == "Pending" and status["jobDeploymentStatus"] == "Running":
            status.update(jobDeploymentStatus="Initializing")
        if has_condition(head or {}, "Ready"):
            status["dashboardURL"] = f"{head['status']['podIP']}:8265"

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

    def _delete(self, pods: list[Object]) -> bool:
        """Deletes the pods with their grace; whether none is left."""
        left = False
        for pod in pods:
            namespace, name = key_of(pod)
            if not pod["metadata"].get("deletionTimestamp"):
                self.api.delete("Pod", name, namespace)
            left = left or self.api.find("Pod", name, namespace) is not None
        return not left

    def _empty(self, job: Object, status: Object, pods: list[Object], state: str) -> None:
        """Clears the cluster away before a suspension or another try."""
        if not self._delete(pods):
            return
        self.api.delete("RayCluster", status["rayClusterName"], job["metadata"]["namespace"])
        for field in ("jobId", "rayClusterName", "dashboardURL", "startTime", "endTime"):
            status.pop(field, None)
        cleared: dict[str, Any] = {"jobStatus": "", "message": "", "rayClusterStatus": {}}
        status.update(cleared)
        status.pop("reason", None)
        status["jobDeploymentStatus"] = "Suspended" if state == "Suspending" else ""
        self.later(key_of(job))

    def _clean(self, job: Object, status: Object, pods: list[Object]) -> None:
        """Deletes the pods of a finished job once its time to live is over."""
        if not job["spec"].get("shutdownAfterJobFinishes") or "endTime" not in status:
            return
        ttl = job["spec"].get("ttlSecondsAfterFinished", 0)
        left = parse_time(status["endTime"]) + ttl - self.api.store.now()
        if left > 0:
            self.later(key_of(job), left)
        else:
            self.api.delete("RayCluster", status["rayClusterName"], job["metadata"]["namespace"])
