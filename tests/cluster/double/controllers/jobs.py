"""The Job controller."""

import time
from collections.abc import Iterable
from typing import Any

from tests.cluster.double.api.client import (
    condition,
    has_condition,
    owner_reference,
    with_condition,
)
from tests.cluster.double.api.errors import ApiError
from tests.cluster.double.api.registry import random_suffix
from tests.cluster.double.api.resource_types import Object
from tests.cluster.double.api.store import Change, parse_time
from tests.cluster.double.controllers.controller import Controller, Key, key_of, owner_of

TRACKING = "batch.kubernetes.io/job-tracking"
BACKOFF_S = 0.05
MAX_BACKOFF_S = 1.0
QUOTA_RETRY_S = 0.2

_DEADLINE = ("DeadlineExceeded", "Job was active longer than specified deadline")
_BACKOFF = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")


def _phase(pod: Object) -> str:
    return pod["status"].get("phase", "")


def _finished(pod: Object) -> bool:
    return _phase(pod) in ("Succeeded", "Failed")


def _policy_action(job: Object, pod: Object) -> str:
    """What the job's podFailurePolicy says about a failed pod."""
    statuses = pod["status"].get("containerStatuses") or ()
    codes = {
        each["name"]: each["state"]["terminated"]["exitCode"]
        for each in statuses
        if "terminated" in each["state"]
    }
    for rule in (job["spec"].get("podFailurePolicy") or {}).get("rules") or ():
        if exits := rule.get("onExitCodes"):
            name, values = exits.get("containerName"), exits["values"]
            failed = [code for key, code in codes.items() if code and name in (None, key)]
            if any((code in values) is (exits["operator"] == "In") for code in failed):
                return rule["action"]
        for wanted in rule.get("onPodConditions") or ():
            status = wanted.get("status", "True")
            for result in pod["status"].get("conditions") or ():
                if (result["type"], result["status"]) == (wanted["type"], status):
                    return rule["action"]
    return "Count"


class JobController(Controller):
    """Runs the pods of Jobs until enough have succeeded or too many have failed."""

    def __init__(self, api: Any):
        super().__init__(api)
        self._not_before: dict[str, float] = {}

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.kind == "Job":
            yield key_of(change.item)
        elif change.resource.kind == "Pod":
            labels = change.item["metadata"].get("labels") or {}
            if name := labels.get("batch.kubernetes.io/job-name"):
                yield change.item["metadata"]["namespace"], name

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        with self.api.store.lock:
            job = self.api.find("Job", name, namespace)
            labels = f"batch.kubernetes.io/job-name={name}"
            pods = self.api.list("Pod", namespace, labels)
            if job is None or job["metadata"].get("deletionTimestamp"):
                for pod in pods:
                    self._release(pod)
                return
            uid = job["metadata"]["uid"]
            mine = [pod for pod in pods if (owner_of(pod, "Job") or {}).get("uid") == uid]
            self._sync(job, mine)

    def _release(self, pod: Object) -> None:
        if TRACKING in pod["metadata"].get("finalizers", ()):
            namespace, name = key_of(pod)
            self.api.remove_finalizer("Pod", name, namespace, TRACKING)

    def _sync(self, job: Object, pods: list[Object]) -> None:
        if has_condition(job, "Complete") or has_condition(job, "Failed"):
            for pod in pods:
                self._release(pod)
            self._expire(job)
            return
        status = dict(job.get("status") or {})
        failing = self._count(job, pods, status)
        active = [
            pod
            for pod in pods
            if not _finished(pod) and not pod["metadata"].get("deletionTimestamp")
        ]
        if job["spec"].get("suspend"):
            active = self._suspend(job, status, active)
        else:
            self._resume(job, status)
            if not self._end(job, status, pods, active, failing):
                active += self._grow(job, status, active)
        self._write(job, status, active, pods)

    def _count(self, job: Object, pods: list[Object], status: Object) -> bool:
        """Counts pods that ended; whether one of them fails the job by its policy."""
        failing = False
        for pod in pods:
            leaving = pod["metadata"].get("deletionTimestamp") and not job["spec"].get("suspend")
            if TRACKING not in pod["metadata"].get("finalizers", ()):
                continue
            if _phase(pod) == "Succeeded":
                status["succeeded"] = status.get("succeeded", 0) + 1
            elif _phase(pod) == "Failed" or leaving:
                action = _policy_action(job, pod)
                failing = failing or action == "FailJob"
                if action != "Ignore":
                    status["failed"] = status.get("failed", 0) + 1
                wait = min(BACKOFF_S * 2 ** min(status.get("failed", 0), 8), MAX_BACKOFF_S)
                self._not_before[job["metadata"]["uid"]] = time.monotonic() + wait
            else:
                continue
            self.api.set_status(
                "Job", job["metadata"]["name"], status, job["metadata"]["namespace"]
            )
            self._release(pod)
        return failing

    def _suspend(self, job: Object, status: Object, active: list[Object]) -> list[Object]:
        for pod in active:
            self._release(pod)
            self._delete(pod)
        if not has_condition({"status": status}, "Suspended"):
            status.pop("startTime", None)
            self._condition(status, "Suspended", "JobSuspended", "Job suspended")
            self.api.event(job, "Suspended", "Job suspended", source="job-controller")
        return []

    def _resume(self, job: Object, status: Object) -> None:
        if has_condition({"status": status}, "Suspended"):
            now = self.api.store.timestamp()
            resumed = condition("Suspended", False, "JobResumed", "Job resumed", now)
            status["conditions"] = with_condition(status.get("conditions"), resumed)
            self.api.event(job, "Resumed", "Job resumed", source="job-controller")
        status.setdefault("startTime", self.api.store.timestamp())

    def _end(
        self,
        job: Object,
        status: Object,
        pods: list[Object],
        active: list[Object],
        failing: bool,
    ) -> bool:
        """Ends the job where it has succeeded or failed; whether it has."""
        spec = job["spec"]
        completions = spec.get("completions", 1)
        if status.get("succeeded", 0) >= completions:
            reason, message = "CompletionsReached", "Reached expected number of succeeded pods"
            self._condition(status, "SuccessCriteriaMet", reason, message)
            self._condition(status, "Complete", reason, message)
            status["completionTime"] = self.api.store.timestamp()
            self.api.event(job, "Completed", "Job completed", source="job-controller")
        elif not has_condition({"status": status}, "FailureTarget"):
            if (why := self._failure(job, status, pods, failing)) is None:
                return False
            self._condition(status, "FailureTarget", *why)
            self.api.event(job, *why, warning=True, source="job-controller")
        for pod in active:
            self._delete(pod)
        active.clear()
        target = next((c for c in status["conditions"] if c["type"] == "FailureTarget"), None)
        if target and not any(self._standing(pod) for pod in pods):
            self._condition(status, "Failed", target["reason"], target["message"])
        return True

    def _standing(self, pod: Object) -> bool:
        namespace, name = key_of(pod)
        result = self.api.find("Pod", name, namespace)
        return result is not None and not _finished(result)

    def _failure(
        self, job: Object, status: Object, pods: list[Object], failing: bool
    ) -> tuple[str, str] | None:
        spec = job["spec"]
        if failing:
            return "PodFailurePolicy", "A pod failed by a rule of the job's pod failure policy"
        restarts = 0
        if spec["template"]["spec"].get("restartPolicy") == "OnFailure":
            for pod in pods:
                for each in pod["status"].get("containerStatuses") or ():
                    restarts += each.get("restartCount", 0)
        limit = spec.get("backoffLimit", 6)
        if status.get("failed", 0) > limit or (restarts and restarts > limit):
            return _BACKOFF
        if (deadline := spec.get("activeDeadlineSeconds")) is not None:
            left = parse_time(status["startTime"]) + deadline - self.api.store.now()
            if left <= 0:
                return _DEADLINE
            self.later(key_of(job), left)
        return None

    def _grow(self, job: Object, status: Object, active: list[Object]) -> list[Object]:
        """Creates the pods that are missing."""
        spec = job["spec"]
        left = spec.get("completions", spec["parallelism"]) - status.get("succeeded", 0)
        wanted = min(spec["parallelism"], left) - len(active)
        wait = self._not_before.get(job["metadata"]["uid"], 0) - time.monotonic()
        if wanted > 0 and wait > 0:
            self.later(key_of(job), wait)
            return []
        created = []
        for _ in range(wanted):
            try:
                created.append(self.api.create(self._pod(job)))
            except ApiError as error:
                message = f"Error creating: {error.message}"
                self.api.event(job, "FailedCreate", message, True, "job-controller")
                self.later(key_of(job), QUOTA_RETRY_S)
                break
            name = created[-1]["metadata"]["name"]
            message = f"Created pod: {name}"
            self.api.event(job, "SuccessfulCreate", message, source="job-controller")
        return created

    def _pod(self, job: Object) -> Object:
        template, meta = job["spec"]["template"], job["metadata"]
        own = template.get("metadata") or {}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{meta['name'][:57]}-{random_suffix()}",
                "generateName": f"{meta['name']}-",
                "namespace": meta["namespace"],
                "labels": own.get("labels") or {},
                "annotations": own.get("annotations") or {},
                "finalizers": [TRACKING],
                "ownerReferences": [owner_reference(job)],
            },
            "spec": template["spec"],
        }

    def _delete(self, pod: Object) -> None:
        namespace, name = key_of(pod)
        self.api.delete("Pod", name, namespace)

    def _condition(self, status: Object, kind: str, reason: str, message: str) -> None:
        created = condition(kind, True, reason, message, self.api.store.timestamp())
        created["lastProbeTime"] = created["lastTransitionTime"]
        status["conditions"] = with_condition(status.get("conditions"), created)

    def _write(self, job: Object, status: Object, active: list[Object], pods: list[Object]) -> None:
        ready = sum(has_condition(pod, "Ready") for pod in active)
        leaving = [p for p in pods if p["metadata"].get("deletionTimestamp") and not _finished(p)]
        status.update(active=len(active), ready=ready, terminating=len(leaving))
        if not active:
            status.pop("active")
        status["uncountedTerminatedPods"] = {}
        self.api.set_status("Job", job["metadata"]["name"], status, job["metadata"]["namespace"])

    def _expire(self, job: Object) -> None:
        """Deletes a finished job once its time to live is over."""
        if (ttl := job["spec"].get("ttlSecondsAfterFinished")) is None:
            return
        ends = [
            each["lastTransitionTime"]
            for each in job["status"]["conditions"]
            if each["type"] in ("Complete", "Failed")
        ]
        left = parse_time(ends[0]) + ttl - self.api.store.now()
        if left > 0:
            self.later(key_of(job), left)
            return
        self.api.delete(
            "Job", job["metadata"]["name"], job["metadata"]["namespace"], policy="Foreground"
        )
