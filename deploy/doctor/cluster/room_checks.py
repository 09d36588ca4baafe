"""Whether the runs that may be under way at once leave room for a job, with the arithmetic."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, Self

from deploy.doctor.finding import Finding, fine, missing, warning
from deploy.doctor.refusal import refused
from resources.compute.rayjob.adapter import smallest_job
from resources.kubernetes_api.client import Cluster, ClusterRefused
from resources.kubernetes_api.pod_template import run_resources
from resources.kubernetes_api.settings import RUNS_OF_A_CLUSTER

VARIABLE = "ORRERY_RUNS_AT_ONCE"
HOW = "docs/kubernetes.md, Size"
OF_WORK = ("run", "job")
"""Components of pods that come and go, and whose room is what is asked for."""
GIB = Decimal(1 << 30)
ENDED = ("Succeeded", "Failed")


class Room(NamedTuple):
    """Processors and bytes."""

    cpus: Decimal = Decimal(0)
    memory: Decimal = Decimal(0)

    @classmethod
    def of(cls, amounts: Mapping[str, Any] | None) -> Self:
        """Those of what Kubernetes writes as `{cpu: 500m, memory: 1Gi}`."""
        from kubernetes.utils.quantity import parse_quantity

        named = amounts or {}
        return cls(parse_quantity(named.get("cpu", 0)), parse_quantity(named.get("memory", 0)))

    def plus(self, other: "Room", times: int = 1) -> "Room":
        """Both; the other so many times."""
        return Room(self.cpus + times * other.cpus, self.memory + times * other.memory)

    def holds(self, other: "Room") -> bool:
        """Whether the other fits in."""
        return other.cpus <= self.cpus and other.memory <= self.memory

    def __str__(self) -> str:
        cpus, gib = (round(amount, 1).normalize() for amount in (self.cpus, self.memory / GIB))
        return f"{cpus:f} CPU and {gib:f} GiB"


def check_room(cluster: Cluster, runs_at_once: int | None) -> Iterator[Finding]:
    """One finding: what nodes have for runs and jobs, and what runs take of it at most."""
    nodes = _nodes(cluster)
    try:
        nodes = _free(cluster, nodes)
    except ClusterRefused as error:
        yield refused("room", "list pods of all namespaces", error, "kubectl describe nodes")
        return
    free = _sum(nodes.values())
    run = Room.of(run_resources(cluster.settings)["requests"])
    job = Room.of(smallest_job(cluster.settings))
    runs = runs_at_once or _told(cluster) or RUNS_OF_A_CLUSTER
    has = f"the nodes have {free} for runs and jobs"
    if not any(room.holds(job.plus(run)) for room in nodes.values()):
        yield missing(
            "room",
            f"{has}, and none has room for the smallest job ({job}) beside its run ({run})",
            f"add a node, or take other work away ({HOW})",
        )
        return
    most = _most(free.plus(job, -1), run)
    taken = f"{runs} runs at once ask for {Room().plus(run, runs)}"
    if runs <= most:
        yield fine("room", f"{has}; {taken}, which leaves a job its {job}")
        return
    yield warning(
        "room",
        f"{has}; {taken}, which leaves less than a job needs ({job}): all of them may wait for "
        "ever",
        f"set {VARIABLE} to {most} or less in orrery-settings, or have nodes added ({HOW})",
    )


def _nodes(cluster: Cluster) -> dict[str, Room]:
    """What each node has for pods."""
    return {
        node["metadata"]["name"]: Room.of((node.get("status") or {}).get("allocatable"))
        for node in cluster.find("Node")
        if _is_for_everybody(node)
    }


def _free(cluster: Cluster, nodes: dict[str, Room]) -> dict[str, Room]:
    """What each has without what others than runs and jobs ask for."""
    nodes = dict(nodes)
    for pod in cluster.find("Pod", everywhere=True):
        name = (pod.get("spec") or {}).get("nodeName")
        if name in nodes and not _comes_and_goes(pod):
            nodes[name] = nodes[name].plus(requests_of(pod), -1)
    return nodes


def requests_of(pod: Mapping[str, Any]) -> Room:
    """What the scheduler counts of a pod: its containers and sidecars, or a larger step before."""
    spec = pod["spec"]
    before = spec.get("initContainers") or ()
    sidecars = [each for each in before if each.get("restartPolicy") == "Always"]
    together = _sum(_asked(each) for each in (*spec["containers"], *sidecars))
    for each in before:
        if each not in sidecars:
            step = _asked(each)
            together = Room(max(together.cpus, step.cpus), max(together.memory, step.memory))
    return together.plus(Room.of(spec.get("overhead")))


def _asked(container: Mapping[str, Any]) -> Room:
    return Room.of((container.get("resources") or {}).get("requests"))


def _sum(rooms: Any) -> Room:
    total = Room()
    for room in rooms:
        total = total.plus(room)
    return total


def _is_for_everybody(node: Mapping[str, Any]) -> bool:
    spec = node.get("spec") or {}
    taints = [each.get("effect") for each in spec.get("taints") or ()]
    return not spec.get("unschedulable") and not {"NoSchedule", "NoExecute"} & set(taints)


def _comes_and_goes(pod: Mapping[str, Any]) -> bool:
    labels = pod["metadata"].get("labels") or {}
    is_ours = labels.get("app.kubernetes.io/managed-by") == "orrery"
    is_work = is_ours and labels.get("app.kubernetes.io/component") in OF_WORK
    return is_work or (pod.get("status") or {}).get("phase") in ENDED


def _most(left: Room, run: Room) -> int:
    """How many runs fit."""
    return int(min(left.cpus / run.cpus, left.memory / run.memory))


def _told(cluster: Cluster) -> int | None:
    """The bound of the platform's own settings, where this process has others."""
    thing = cluster.get("ConfigMap", cluster.settings.config_map) or {}
    text = str((thing.get("data") or {}).get(VARIABLE, ""))
    return int(text) if text.isdigit() else None
