"""A double of Kueue for Jobs and RayJobs that name a queue."""

import hashlib
from collections.abc import Iterable
from decimal import Decimal

from tests.cluster.double.api.client import (
    Client,
    condition,
    has_condition,
    owner_reference,
    with_condition,
)
from tests.cluster.double.api.errors import ApiError
from tests.cluster.double.api.quantities import pod_resources, quantity
from tests.cluster.double.api.resource_types import BY_KIND, Object, ResourceType
from tests.cluster.double.api.store import Change
from tests.cluster.double.controllers.controller import Controller, Key, key_of, owner_of

QUEUE = "kueue.x-k8s.io/queue-name"
PRIORITY = "kueue.x-k8s.io/priority-class"

_KINDS = ("Job", "RayJob")
_ADMITTING = ("kueue", "admit")


def _labels(item: Object) -> dict[str, str]:
    return item["metadata"].get("labels") or {}


def _pod_sets(job: Object) -> list[Object]:
    if job["kind"] == "Job":
        spec = job["spec"]
        count = spec.get("parallelism", 1)
        return [{"name": "main", "count": count, "template": {"spec": spec["template"]["spec"]}}]
    cluster = job["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    sets = [{"name": "head", "count": 1, "template": {"spec": head}}]
    for group in cluster.get("workerGroupSpecs") or ():
        count, spec = group.get("replicas", 1), group["template"]["spec"]
        sets.append({"name": group["groupName"], "count": count, "template": {"spec": spec}})
    return sets


def _request(workload: Object) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for each in workload["spec"]["podSets"]:
        body = {**pod_resources(each["template"]["spec"]), "pods": Decimal(1)}
        for name, amount in body.items():
            total[name] = total.get(name, Decimal(0)) + amount * each["count"]
    return total


def _ended(job: Object) -> bool:
    if job["kind"] == "Job":
        return has_condition(job, "Complete") or has_condition(job, "Failed")
    state = (job.get("status") or {}).get("jobDeploymentStatus")
    return state in ("Complete", "Failed", "ValidationFailed")


def _at_rest(job: Object) -> bool:
    """Whether nothing of a suspended job runs."""
    status = job.get("status") or {}
    if job["kind"] == "Job":
        return not status.get("active") and not status.get("terminating")
    return status.get("jobDeploymentStatus", "") in ("", "Suspended")


class Kueue(Controller):
    """Suspends queued jobs, keeps their Workloads, and admits them as quota permits."""

    def __init__(self, api: Client):
        super().__init__(api)
        self._holding = False
        self._held: set[str] = set()
        api.registry.admissions.append(self._admit_object)

    def _admit_object(
        self, operation: str, resource: ResourceType, item: Object, old: Object | None
    ) -> None:
        """The webhook: a queued job is born suspended."""
        if operation != "CREATE" or resource.kind not in _KINDS or QUEUE not in _labels(item):
            return
        spec = item.get("spec") or {}
        if resource.kind == "RayJob" and not spec.get("shutdownAfterJobFinishes"):
            raise ApiError(
                403,
                'admission webhook "vrayjob.kb.io" denied the request: '
                "spec.shutdownAfterJobFinishes: Invalid value: false: a kueue managed job should "
                "delete the cluster after finishing",
            )
        item["spec"] = {**spec, "suspend": True}

    def hold(self) -> None:
        """Admits nothing until `release`."""
        self._holding = True

    def release(self) -> None:
        """Admits what waits, preempted workloads too."""
        self._holding = False
        self._held.clear()
        self.later(_ADMITTING)

    def preempt(self, name: str, namespace: str | None = None) -> None:
        """Takes the quota from the job of this name, which waits until `release`."""
        with self.api.store.lock:
            for workload in self.api.list("Workload", namespace):
                owners = workload["metadata"].get("ownerReferences") or ()
                if name == workload["metadata"]["name"] or any(o["name"] == name for o in owners):
                    self._held.add(workload["metadata"]["uid"])
                    self._evict(workload)
                    return
        raise KeyError(name)

    def keys(self, change: Change) -> Iterable[Key]:
        kind, item = change.resource.kind, change.item
        if kind in _KINDS and QUEUE in _labels(item):
            yield f"{kind}/{item['metadata']['namespace']}", item["metadata"]["name"]
        elif kind == "Workload":
            for owner in item["metadata"].get("ownerReferences") or ():
                yield f"{owner['kind']}/{item['metadata']['namespace']}", owner["name"]
        if kind in ("Workload", "LocalQueue", "ClusterQueue", *_KINDS):
            yield _ADMITTING
        if kind in ("LocalQueue", "ClusterQueue") and change.kind == "ADDED":
            yield kind, f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}"

    def reconcile(self, key: Key) -> None:
        kind, _, namespace = key[0].partition("/")
        with self.api.store.lock:
            if key == _ADMITTING:
                self._admit_waiting()
            elif kind in _KINDS:
                job = self.api.get(kind, key[1], namespace)
                if not job["metadata"].get("deletionTimestamp"):
                    self._follow(job)
            else:
                namespace, _, name = key[1].partition("/")
                ready = self._condition("Active", True, "Ready", "Can submit new workloads")
                self.api.patch_status(kind, name, {"conditions": [ready]}, namespace)

    def _condition(self, kind: str, holds: bool, reason: str, message: str) -> Object:
        return condition(kind, holds, reason, message, self.api.store.timestamp())

    def _follow(self, job: Object) -> None:
        workload = self._workload(job)
        if _ended(job):
            if not has_condition(workload, "Finished"):
                failed = has_condition(job, "Failed")
                failed = failed or (job.get("status") or {}).get("jobStatus") == "FAILED"
                reason = "Failed" if failed else "Succeeded"
                self._set(workload, self._condition("Finished", True, reason, "Job finished"))
            return
        admitted = has_condition(workload, "Admitted")
        if admitted and workload["spec"].get("active") is False:
            self._withdraw(workload, "Deactivated", "The workload is deactivated")
            admitted = False
        if bool(job["spec"].get("suspend")) is admitted:
            namespace, name = key_of(job)
            self.api.patch(job["kind"], name, {"spec": {"suspend": not admitted}}, namespace)
        if has_condition(workload, "Evicted") and not admitted and _at_rest(job):
            self.later(_ADMITTING)

    def _workload(self, job: Object) -> Object:
        namespace, name = key_of(job)
        digest = hashlib.sha256(job["metadata"]["uid"].encode()).hexdigest()[:5]
        title = f"{job['kind'].lower()}-{name}-{digest}"
        if result := self.api.find("Workload", title, namespace):
            return result
        spec: Object = {"queueName": _labels(job)[QUEUE], "podSets": _pod_sets(job), "active": True}
        if priority := _labels(job).get(PRIORITY):
            kind = "WorkloadPriorityClass"
            spec["priorityClassRef"] = {"group": "kueue.x-k8s.io", "kind": kind, "name": priority}
            result = self.api.find(kind, priority)
            spec["priority"] = result["value"] if result else 0
        return self.api.create(
            {
                "apiVersion": BY_KIND["Workload"].api_version,
                "kind": "Workload",
                "metadata": {
                    "name": title,
                    "namespace": namespace,
                    "labels": {"kueue.x-k8s.io/job-uid": job["metadata"]["uid"]},
                    "ownerReferences": [owner_reference(job)],
                },
                "spec": spec,
            }
        )

    def _set(self, workload: Object, *conditions: Object, admission: Object | None = None) -> None:
        """Replaces conditions, and the admission."""
        status = dict(workload.get("status") or {})
        for each in conditions:
            status["conditions"] = with_condition(status.get("conditions"), each)
        status.pop("admission", None)
        if admission:
            status["admission"] = admission
        namespace, name = key_of(workload)
        self.api.set_status("Workload", name, status, namespace)
        workload["status"] = status

    def _evict(self, workload: Object) -> None:
        message = "Preempted to accommodate a workload of higher priority"
        created = self._condition("Preempted", True, "InClusterQueue", message)
        self._withdraw(workload, "Preempted", message, created)

    def _withdraw(self, workload: Object, reason: str, message: str, *more: Object) -> None:
        """Takes the quota back."""
        self._set(
            workload,
            self._condition("QuotaReserved", False, "Pending", message),
            self._condition("Admitted", False, "NoReservation", "The workload has no reservation"),
            self._condition("Evicted", True, reason, message),
            *more,
        )

    def _waiting(self) -> list[Object]:
        waiting = [
            each
            for each in self.api.list("Workload", "*")
            if not has_condition(each, "Finished") and not has_condition(each, "Admitted")
            if each["spec"].get("active") is not False
        ]
        return sorted(
            waiting,
            key=lambda each: (
                -each["spec"].get("priority", 0),
                int(each["metadata"]["resourceVersion"]),
            ),
        )

    def _admit_waiting(self) -> None:
        for workload in self._waiting():
            meta = workload["metadata"]
            local = self.api.find("LocalQueue", workload["spec"]["queueName"], meta["namespace"])
            cluster = local and self.api.find("ClusterQueue", local["spec"]["clusterQueue"])
            if not cluster:
                missing = f"LocalQueue {workload['spec']['queueName']} doesn't exist"
                if local:
                    missing = f"ClusterQueue {local['spec']['clusterQueue']} doesn't exist"
                self._refuse(workload, "Inadmissible", missing)
            elif self._holding or meta["uid"] in self._held:
                self._refuse(workload, "Pending", "waiting for quota")
            elif not self._job_at_rest(workload):
                continue
            elif why := self._shortage(workload, cluster):
                self._refuse(workload, "Pending", why)
            else:
                self._admit(workload, cluster)

    def _refuse(self, workload: Object, reason: str, message: str) -> None:
        created = self._condition("QuotaReserved", False, reason, message)
        known = (workload.get("status") or {}).get("conditions") or ()
        if not any(
            (each["type"], each["reason"], each["message"]) == ("QuotaReserved", reason, message)
            for each in known
        ):
            self._set(workload, created)

    def _job_at_rest(self, workload: Object) -> bool:
        for kind in _KINDS:
            if owner := owner_of(workload, kind):
                job = self.api.find(kind, owner["name"], workload["metadata"]["namespace"])
                return job is not None and _at_rest(job)
        return True

    def _quota(self, cluster: Object) -> dict[str, Decimal]:
        quota: dict[str, Decimal] = {}
        for group in cluster["spec"].get("resourceGroups") or ():
            for flavor in group["flavors"]:
                for each in flavor["resources"]:
                    amount = quantity(each["nominalQuota"])
                    quota[each["name"]] = quota.get(each["name"], Decimal(0)) + amount
        return quota

    def _shortage(self, workload: Object, cluster: Object) -> str | None:
        left = self._quota(cluster)
        for each in self.api.list("Workload", "*"):
            admission = (each.get("status") or {}).get("admission") or {}
            taken = admission.get("clusterQueue") == cluster["metadata"]["name"]
            if taken and not has_condition(each, "Finished"):
                for name, amount in _request(each).items():
                    left[name] = left.get(name, Decimal(0)) - amount
        for name, amount in _request(workload).items():
            if name in left and amount > left[name]:
                return f"couldn't assign flavors to pod set: insufficient unused quota for {name}"
        return None

    def _admit(self, workload: Object, cluster: Object) -> None:
        name = cluster["metadata"]["name"]
        sets = [
            {"name": each["name"], "count": each["count"]} for each in workload["spec"]["podSets"]
        ]
        created = [
            self._condition("QuotaReserved", True, "QuotaReserved", f"Quota reserved in {name}"),
            self._condition("Admitted", True, "Admitted", "The workload is admitted"),
        ]
        for kind in ("Evicted", "Preempted"):
            if has_condition(workload, kind):
                created.append(
                    self._condition(kind, False, "QuotaReserved", "Previously preempted")
                )
        admission = {"clusterQueue": name, "podSetAssignments": sets}
        self._set(workload, *created, admission=admission)
        self.api.event(workload, "Admitted", f"Admitted by ClusterQueue {name}", source="kueue")
