"""The nodes of the cluster: pods run as local processes, each pod on a loopback address.

A pod listens on its own 127.x.y.z address. Mount paths are replaced as `pod_environment` says.
"""

import random
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from tests.cluster.double.api.client import Client, condition, with_condition
from tests.cluster.double.api.errors import ApiError
from tests.cluster.double.api.resource_types import BY_KIND, Object
from tests.cluster.double.api.store import Change
from tests.cluster.double.nodes.container_logs import ContainerLog
from tests.cluster.double.nodes.images import DEFAULT_IMAGES, ImagePlan, Images, find_image
from tests.cluster.double.nodes.pods import PodWorker
from tests.cluster.double.nodes.scheduler import Scheduler, node

NODES = (("node-a", "zone-a"), ("node-b", "zone-b"))
EVICTION_S = 0.3

_UNREACHABLE = "node.kubernetes.io/unreachable"
_SOURCES = ("ConfigMap", "Secret", "PersistentVolumeClaim")


class Kubelet:
    """The kubelets of both nodes, with the scheduler before them."""

    def __init__(self, api: Client, images: Images | None = None, gpus: int = 0):
        self.api = api
        self.images: Images = dict(DEFAULT_IMAGES) if images is None else images
        self.failures: list[str] = []
        self.kubeconfig = Path()
        self.scheduler = Scheduler(api)
        self.pause = self.scheduler.pause
        self.resume = self.scheduler.resume
        self._folder = Path(tempfile.mkdtemp(prefix="cluster-"))
        self.claims = self._folder / "claims"
        self._workers: dict[str, PodWorker] = {}
        self._lock = threading.Lock()
        self._timers: list[threading.Timer] = []
        self._closing = False
        self._network = f"127.{random.randrange(1, 255)}.{random.randrange(256)}"
        self._addresses = 1
        self._gpus = gpus

    def start(self) -> None:
        """Registers the nodes and begins to run pods."""
        self.api.store.subscribe(self._listen)
        for name, zone in NODES:
            created = node(name, zone, self._gpus)
            self.api.create(created)
            self.api.set_status(
                "Node", name, {**created["status"], **self._node_status(name, True)}
            )
        self.scheduler.start()

    def close(self) -> None:
        """Kills every process and removes every folder."""
        self.scheduler.close()
        self.api.store.unsubscribe(self._listen)
        with self._lock:
            self._closing = True
            workers = list(self._workers.values())
        for timer in self._timers:
            timer.cancel()
            timer.join()
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _node_status(self, name: str, ready: bool | None) -> Object:
        reason = "KubeletReady" if ready else "NodeStatusUnknown"
        now = self.api.store.timestamp()
        result = self.api.get("Node", name)
        created = {**condition("Ready", ready, reason, "", now), "lastHeartbeatTime": now}
        conditions = with_condition((result.get("status") or {}).get("conditions"), created)
        addresses = [
            {"type": "InternalIP", "address": "127.0.0.1"},
            {"type": "Hostname", "address": name},
        ]
        versions = ("kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion")
        more = ("machineID", "systemUUID", "bootID", "kubeProxyVersion")
        info = {**dict.fromkeys((*versions, *more), ""), "architecture": "amd64"}
        info["operatingSystem"] = "linux"
        return {"conditions": conditions, "addresses": addresses, "nodeInfo": info}

    def _listen(self, change: Change) -> None:
        kind, item = change.resource.kind, change.item
        with self._lock:
            if self._closing:
                return
            if kind in _SOURCES:
                for worker in self._workers.values():
                    worker.wake()
            if kind != "Pod":
                return
            worker = self._workers.get(item["metadata"]["uid"])
            if worker:
                worker.wake()
            elif change.kind != "DELETED" and item["spec"].get("nodeName"):
                self._begin(item)

    def _begin(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return
        self._addresses += 1
        third, last = divmod(self._addresses, 250)
        first, second, base = self._network.split(".")[:3]
        ip = f"{first}.{second}.{(int(base) + third) % 256}.{last + 2}"
        folder = self._folder / uid
        folder.mkdir()
        self._workers[uid] = worker = PodWorker(self, pod, folder, ip)
        worker.start()

    def image(self, name: str) -> ImagePlan | None:
        """What stands behind an image name."""
        return find_image(self.images, name)

    def ended(self, worker: PodWorker) -> None:
        """Forgets a worker whose pod has gone."""
        with self._lock:
            if not self._closing:
                self._workers.pop(worker.uid, None)
        shutil.rmtree(self._folder / worker.uid, ignore_errors=True)

    def confirm_deletion(self, pod: Object) -> None:
        """Tells the API that a deleted pod runs no more."""
        meta = pod["metadata"]
        self.api.delete("Pod", meta["name"], meta["namespace"], grace_s=0)

    def _worker(self, name: str, namespace: str | None) -> PodWorker:
        pod = self.api.get("Pod", name, namespace)
        with self._lock:
            return self._workers[pod["metadata"]["uid"]]

    def pids(self, name: str, namespace: str | None = None) -> list[int]:
        """Process ids of a pod's running containers."""
        processes = [each.process for each in self._worker(name, namespace).containers]
        return [process.pid for process in processes if process]

    def _worker_of(self, pod: Object) -> PodWorker | None:
        with self._lock:
            return self._workers.get(pod["metadata"]["uid"])

    def run_of(self, pod: Object) -> str | None:
        """What identifies the present run of the pod's main container; None while it is away."""
        worker = self._worker_of(pod)
        if worker is None or worker.silent:
            return None
        main = worker.main
        return None if main.process is None or main.ending else main.run

    def variable(self, pod: Object, name: str) -> str | None:
        """A variable of the pod's main container."""
        worker = self._worker_of(pod)
        return worker.main.variables.get(name) if worker else None

    def begin_beside(
        self, pod: Object, run: str, command: list[str], variables: dict[str, str], output: Path
    ) -> subprocess.Popen[bytes] | None:
        """Starts a process beside the main container's own; None where that run of it is over."""
        worker = self._worker_of(pod)
        return worker.begin_beside(run, command, variables, output) if worker else None

    def log(self, namespace: str, name: str, container: str | None, previous: bool):
        """The log of a container, as the API server asks for it."""
        pod = self.api.get("Pod", name, namespace)
        worker = self._worker_of(pod)
        spec = pod["spec"]
        names = [each["name"] for each in (spec.get("initContainers") or []) + spec["containers"]]
        if container is None:
            if len(spec["containers"]) > 1:
                listed = " ".join(each["name"] for each in spec["containers"])
                message = f"a container name must be specified for pod {name}, choose one of"
                raise ApiError(400, f"{message}: [{listed}]")
            container = str(spec["containers"][0]["name"])
        if container not in names:
            raise ApiError(400, f"container {container} is not valid for pod {name}")
        return self._container_log(worker, name, container, previous)

    def _container_log(
        self, worker: PodWorker | None, pod: str, container: str, previous: bool
    ) -> ContainerLog:
        reason = "ContainerCreating"
        for each in worker.containers if worker else ():
            if each.name == container:
                result = each.previous_log if previous else each.log
                if previous and "waiting" in each.state:
                    result = each.log
                if result:
                    return result
                reason = (each.state.get("waiting") or {}).get("reason", reason)
        if previous:
            message = f'previous terminated container "{container}" in pod "{pod}" not found'
            raise ApiError(400, message)
        message = f'container "{container}" in pod "{pod}" is waiting to start: {reason}'
        raise ApiError(400, message)

    def evict(self, name: str, namespace: str | None = None) -> None:
        """Fails the pod as under node pressure, and kills its processes."""
        message = "The node was low on resource: memory."
        self._worker(name, namespace).evict("Evicted", message)

    def oom_kill(self, name: str, namespace: str | None = None) -> None:
        """Kills the pod's containers as the kernel does when they outgrow their memory."""
        worker = self._worker(name, namespace)
        worker.submit(lambda: worker.kill("OOMKilled"))

    def lose_node(self, name: str, kill: bool = True) -> None:
        """Cuts off a node: it becomes Unknown, and soon its pods are taken away.

        Its processes are killed, or go on unseen with `kill=False`.
        """
        with self._lock:
            lost = [worker for worker in self._workers.values() if worker.node == name]
        for worker in lost:
            worker.silent = True
            if kill:
                worker.submit(worker.kill)
        taint = {"key": _UNREACHABLE, "effect": "NoExecute"}
        self.api.patch("Node", name, {"spec": {"taints": [taint]}})
        self.api.patch_status("Node", name, self._node_status(name, None))
        timer = threading.Timer(EVICTION_S, self._take_away, [name])
        self._timers.append(timer)
        timer.start()

    def restore_node(self, name: str) -> None:
        """Brings a lost node back, empty."""
        self.api.patch("Node", name, {"spec": {"taints": None}})
        self.api.patch_status("Node", name, self._node_status(name, True))

    def _take_away(self, node: str) -> None:
        with self.api.store.lock:
            for pod in self.api.store.items(BY_KIND["Pod"]):
                if pod["spec"].get("nodeName") != node or self._closing:
                    continue
                meta, status = pod["metadata"], pod["status"]
                reason, message = (
                    "DeletionByTaintManager",
                    "Taint manager: deleting due to NoExecute",
                )
                created = condition(
                    "DisruptionTarget", True, reason, message, self.api.store.timestamp()
                )
                change: Object = {"conditions": with_condition(status.get("conditions"), created)}
                if status.get("phase") not in ("Succeeded", "Failed"):
                    change.update(phase="Failed", reason="NodeLost")
                self.api.patch_status("Pod", meta["name"], change, meta["namespace"])
                self.api.delete("Pod", meta["name"], meta["namespace"], grace_s=0)
