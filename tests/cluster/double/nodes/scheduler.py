"""The scheduler: finds a node for each pod."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from tests.cluster.double.api.client import Client, condition, with_condition
from tests.cluster.double.api.quantities import pod_resources, quantity
from tests.cluster.double.api.resource_types import BY_KIND, Object
from tests.cluster.double.api.selectors import match_expressions
from tests.cluster.double.api.store import Change
from tests.cluster.double.controllers.controller import Controller, Key, key_of


def node(name: str, zone: str, gpus: int = 0) -> Object:
    """A node of the cluster."""
    capacity = {"cpu": "64", "memory": "256Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    if gpus:
        capacity["nvidia.com/gpu"] = str(gpus)
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": zone,
        "topology.kubernetes.io/region": "local",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {"capacity": capacity, "allocatable": capacity},
    }


def _tolerated(pod: Object, taint: Object) -> bool:
    for each in pod["spec"].get("tolerations") or ():
        if each.get("effect") not in (None, "", taint.get("effect")):
            continue
        if each.get("operator") == "Exists" and each.get("key") in (None, "", taint["key"]):
            return True
        if each.get("key") == taint["key"] and each.get("value", "") == taint.get("value", ""):
            return True
    return False


def _has_fields(name: str, fields: list[dict[str, Any]]) -> bool:
    """Whether a node of the name matches; Kubernetes knows one field, with one value at a time."""
    for field in fields:
        if field["key"] != "metadata.name" or len(field["values"]) != 1:
            raise ValueError(f"Kubernetes refuses matchFields {field}")
        if (name in field["values"]) != (field["operator"] == "In"):
            return False
    return True


def _selected(pod: Object, name: str, labels: dict[str, str]) -> bool:
    spec = pod["spec"]
    if not (spec.get("nodeSelector") or {}).items() <= labels.items():
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms")
    return terms is None or any(
        match_expressions(labels, term.get("matchExpressions") or [])
        and _has_fields(name, term.get("matchFields") or [])
        for term in terms
    )


class Scheduler(Controller):
    """Binds pending pods to nodes that are ready, selected, tolerated, and have room."""

    def __init__(self, api: Client):
        super().__init__(api)
        self._paused = False

    def pause(self) -> None:
        """Schedules nothing until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Schedules what waits."""
        self._paused = False
        self._all()

    def _all(self) -> None:
        for pod in self.api.store.items(BY_KIND["Pod"]):
            if not pod["spec"].get("nodeName"):
                self.later(key_of(pod))

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.kind == "Pod":
            if change.kind != "DELETED" and not change.item["spec"].get("nodeName"):
                yield key_of(change.item)
            phase = (change.item.get("status") or {}).get("phase")
            if change.kind == "DELETED" or phase in ("Succeeded", "Failed"):
                self._all()
        elif change.resource.kind == "Node":
            self._all()

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        with self.api.store.lock:
            pod = self.api.get("Pod", name, namespace)
            gates = pod["spec"].get("schedulingGates")
            if pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp") or gates:
                return
            nodes = self.api.store.items(BY_KIND["Node"])
            why = {each["metadata"]["name"]: self._refusal(pod, each) for each in nodes}
            if fitting := [each for each, refusal in why.items() if refusal is None]:
                self._bind(pod, min(fitting, key=self._load))
            else:
                self._refuse(pod, [refusal for refusal in why.values() if refusal])

    def _refusal(self, pod: Object, node: Object) -> str | None:
        if self._paused or node["spec"].get("unschedulable"):
            return "node(s) were unschedulable"
        metadata = node["metadata"]
        if not _selected(pod, metadata["name"], metadata.get("labels") or {}):
            return "node(s) didn't match Pod's node affinity/selector"
        for taint in node["spec"].get("taints") or ():
            if taint.get("effect") != "PreferNoSchedule" and not _tolerated(pod, taint):
                return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
        free = self._free(node)
        for resource, amount in pod_resources(pod["spec"]).items():
            if amount > free.get(resource, Decimal(0)):
                return f"Insufficient {resource}"
        return None

    def _pods_on(self, node: str) -> list[Object]:
        return [
            pod
            for pod in self.api.store.items(BY_KIND["Pod"])
            if pod["spec"].get("nodeName") == node
            and pod["status"].get("phase") not in ("Succeeded", "Failed")
        ]

    def _free(self, node: Object) -> dict[str, Decimal]:
        allocatable = (node.get("status") or {}).get("allocatable") or {}
        free = {name: quantity(amount) for name, amount in allocatable.items()}
        for pod in self._pods_on(node["metadata"]["name"]):
            for name, amount in pod_resources(pod["spec"]).items():
                free[name] = free.get(name, Decimal(0)) - amount
        return free

    def _load(self, node: str) -> int:
        return len(self._pods_on(node))

    def _condition(self, pod: Object, holds: bool, reason: str, message: str) -> None:
        created = condition("PodScheduled", holds, reason, message, self.api.store.timestamp())
        if not reason:
            created = {key: value for key, value in created.items() if value}
        conditions = with_condition(pod["status"].get("conditions"), created)
        namespace, name = key_of(pod)
        self.api.patch_status("Pod", name, {"conditions": conditions}, namespace)

    def _bind(self, pod: Object, node: str) -> None:
        self._condition(pod, True, "", "")
        namespace, name = key_of(pod)

        def bound(item: Any) -> Any:
            return {**item, "spec": {**item["spec"], "nodeName": node}}

        self.api.change("Pod", name, namespace, bound)
        message = f"Successfully assigned {namespace}/{name} to {node}"
        self.api.event(pod, "Scheduled", message, source="default-scheduler")

    def _refuse(self, pod: Object, refusals: list[str]) -> None:
        counts = {each: refusals.count(each) for each in refusals}
        answer = ", ".join(f"{count} {each}" for each, count in counts.items())
        message = f"0/{len(refusals)} nodes are available: {answer}."
        known = pod["status"].get("conditions") or ()
        if not any(each.get("message") == message for each in known):
            self._condition(pod, False, "Unschedulable", message)
            self.api.event(pod, "FailedScheduling", message, True, "default-scheduler")
