"""A double of the KubeRay operator for RayClusters: a head pod and the workers of each group.

The main process of each pod only stands for Ray's.
"""

from collections.abc import Iterable, Iterator

from tests.cluster.double.api.client import (
    Client,
    condition,
    has_condition,
    owner_reference,
    with_condition,
)
from tests.cluster.double.api.errors import ApiError
from tests.cluster.double.api.quantities import quantity
from tests.cluster.double.api.registry import random_suffix
from tests.cluster.double.api.resource_types import Object
from tests.cluster.double.api.store import Change
from tests.cluster.double.controllers.controller import Controller, Key, key_of
from tests.cluster.double.nodes.kubelet import Kubelet

CLUSTER = "ray.io/cluster"
NODE_TYPE = "ray.io/node-type"
GROUP = "ray.io/group"
HEAD_GROUP = "headgroup"
CREATE_RETRY_S = 0.2
RAY_NEEDS = "3Gi"
"""Memory of a head that does nothing; 2743 MiB were measured."""

_RAY = ["python", "-c", "import time; time.sleep(10**6)"]
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def _label(pod: Object, name: str) -> str:
    return pod["metadata"]["labels"][name]


def _is_head(pod: Object) -> bool:
    return _label(pod, NODE_TYPE) == "head"


def _ray_container(cluster: str, container: Object) -> Object:
    """The container with Ray as its process; what would probe Ray has nothing to probe."""
    left_out = ("command", "args", *_PROBES)
    kept = {key: value for key, value in container.items() if key not in left_out}
    named = {"name": "RAY_CLUSTER_NAME", "value": cluster}
    return {**kept, "command": _RAY, "env": [*(container.get("env") or ()), named]}


def _pod(cluster: Object, kind: str, group: str, template: Object) -> Object:
    namespace, name = key_of(cluster)
    meta, spec = template.get("metadata") or {}, template["spec"]
    first, *others = spec["containers"]
    labels = {
        CLUSTER: name,
        NODE_TYPE: kind,
        GROUP: group,
        "ray.io/identifier": f"{name}-{kind}",
        "ray.io/is-ray-node": "yes",
    }
    middle = "head" if kind == "head" else f"{group}-worker"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-{middle}-{random_suffix()}",
            "namespace": namespace,
            "labels": {**(meta.get("labels") or {}), **labels},
            "annotations": meta.get("annotations") or {},
            "ownerReferences": [owner_reference(cluster)],
        },
        "spec": {**spec, "containers": [_ray_container(name, first), *others]},
    }


class RayClusterController(Controller):
    """Creates the pods of RayClusters, and replaces those that have ended or gone.

    A head whose memory is limited to less than `ray_needs` runs out of it again and again.
    """

    def __init__(self, api: Client, kubelet: Kubelet):
        super().__init__(api)
        self.ray_needs = RAY_NEEDS
        self._kubelet = kubelet

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.kind == "RayCluster":
            yield key_of(change.item)
        elif change.resource.kind == "Pod":
            labels = change.item["metadata"].get("labels") or {}
            if name := labels.get(CLUSTER):
                yield change.item["metadata"]["namespace"], name

    def pods(self, namespace: str, cluster: str) -> list[Object]:
        """All pods of the RayCluster."""
        return self.api.list("Pod", namespace, f"{CLUSTER}={cluster}")

    def head(self, namespace: str, cluster: str) -> Object | None:
        """The head pod, while it answers."""
        results = [
            each for each in self.pods(namespace, cluster) if _label(each, NODE_TYPE) == "head"
        ]
        return next((each for each in results if self._answers(each)), None)

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        with self.api.store.lock:
            cluster = self.api.get("RayCluster", name, namespace)
            if cluster["metadata"].get("deletionTimestamp"):
                return
            pods = self.pods(namespace, name)
            for pod in pods:
                self._mind(pod)
            for kind, group, template in self._missing(cluster, pods):
                if not self._create(cluster, _pod(cluster, kind, group, template), kind):
                    break
            self._report(cluster)

    def _mind(self, pod: Object) -> None:
        """Deletes a pod that has ended, and lets one run out of memory that has too little."""
        if pod["status"].get("phase") in ("Failed", "Succeeded"):
            if not pod["metadata"].get("deletionTimestamp"):
                self.api.delete("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])
        elif self._lacks_memory(pod) and self._kubelet.run_of(pod):
            self._kubelet.oom_kill(pod["metadata"]["name"], pod["metadata"]["namespace"])

    def _lacks_memory(self, pod: Object) -> bool:
        limits = (pod["spec"]["containers"][0].get("resources") or {}).get("limits") or {}
        is_head = _label(pod, NODE_TYPE) == "head"
        return (
            is_head and "memory" in limits and quantity(limits["memory"]) < quantity(self.ray_needs)
        )

    def _answers(self, pod: Object) -> bool:
        """Whether the pod's Ray can be reached; its status may be behind."""
        if pod["metadata"].get("deletionTimestamp") or self._lacks_memory(pod):
            return False
        return has_condition(pod, "Ready") and self._kubelet.run_of(pod) is not None

    def _missing(self, cluster: Object, pods: list[Object]) -> Iterator[tuple[str, str, Object]]:
        groups = [_label(each, GROUP) for each in pods]
        if HEAD_GROUP not in groups:
            yield "head", HEAD_GROUP, cluster["spec"]["headGroupSpec"]["template"]
        for group in cluster["spec"].get("workerGroupSpecs") or ():
            name = group["groupName"]
            for _ in range(group.get("replicas", 0) - groups.count(name)):
                yield "worker", name, group["template"]

    def _create(self, cluster: Object, pod: Object, kind: str) -> bool:
        namespace, name = key_of(pod)
        reason = f"{kind.capitalize()}Pod"
        try:
            self.api.create(pod)
        except ApiError as error:
            message = f"Failed to create {kind} Pod {namespace}/{name}, {error.message}"
            self._event(cluster, f"FailedToCreate{reason}", message, warning=True)
            self.later(key_of(cluster), CREATE_RETRY_S)
            return False
        self._event(cluster, f"Created{reason}", f"Created {kind} Pod {namespace}/{name}")
        return True

    def _event(self, cluster: Object, reason: str, message: str, warning: bool = False) -> None:
        self.api.event(cluster, reason, message, warning, "raycluster-controller")

    def _report(self, cluster: Object) -> None:
        namespace, name = key_of(cluster)
        pods, status = self.pods(namespace, name), dict(cluster.get("status") or {})
        groups = cluster["spec"].get("workerGroupSpecs") or ()
        desired = sum(each.get("replicas", 0) for each in groups)
        answering = [each for each in pods if self._answers(each)]
        head = self.head(namespace, name)
        if len(pods) == len(answering) == desired + 1:
            # It stays so, whatever comes of the pods.
            status["state"] = "ready"
        workers = [each for each in answering if not _is_head(each)]
        status.update(desiredWorkerReplicas=desired, availableWorkerReplicas=len(workers))
        status["observedGeneration"] = cluster["metadata"]["generation"]
        if head:
            status["head"] = {"podIP": head["status"]["podIP"], "podName": head["metadata"]["name"]}
        reason = "HeadPodRunningAndReady" if head else "HeadPodNotFound"
        created = condition(
            "HeadPodReady", head is not None, reason, "", self.api.store.timestamp()
        )
        status["conditions"] = with_condition(status.get("conditions"), created)
        self.api.set_status("RayCluster", name, status, namespace)
