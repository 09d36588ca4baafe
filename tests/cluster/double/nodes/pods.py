"""The life of one pod on its node."""

import os
import selectors
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.double.api.client import condition
from tests.cluster.double.api.errors import ApiError
from tests.cluster.double.api.resource_types import BY_KIND, Object
from tests.cluster.double.api.store import parse_time
from tests.cluster.double.nodes.containers import Container
from tests.cluster.double.nodes.launcher import SOURCE_RETRY_S, Launcher
from tests.cluster.double.nodes.pod_environment import MissingSourceError, PodEnvironment
from tests.cluster.double.nodes.pod_status import ended_phase, pod_status
from tests.cluster.double.nodes.probes import Probes

if TYPE_CHECKING:
    from tests.cluster.double.nodes.kubelet import Kubelet

HOOK_POLL_S = 0.02


class PodWorker(threading.Thread):
    """Runs one pod's containers and reports their states. All it has belongs to its thread."""

    def __init__(self, kubelet: "Kubelet", pod: Object, folder: Path, ip: str):
        super().__init__(name=f"pod-{pod['metadata']['name']}")
        self.kubelet = kubelet
        self.uid: str = pod["metadata"]["uid"]
        self.namespace: str = pod["metadata"]["namespace"]
        self.pod_name: str = pod["metadata"]["name"]
        self.node: str = pod["spec"]["nodeName"]
        self.silent = False
        self.ip = ip
        spec = pod["spec"]
        self.containers = [Container(each, True) for each in spec.get("initContainers") or ()]
        self.containers += [Container(each, False) for each in spec["containers"]]
        for each in self.containers if spec.get("initContainers") else ():
            each.wait_for("PodInitializing")
        self._begun = kubelet.api.store.timestamp()
        self._environment = PodEnvironment(kubelet.api, folder, kubelet.claims)
        self._launcher = Launcher(kubelet, self._environment, folder, ip)
        self._prepared = False
        self._outcome: Object | None = None
        self._deadline: float | None = None
        self._probes: dict[str, Probes] = {}
        self._commands: deque[Callable[[], None]] = deque()
        self._closing = False
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._wake_lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_fd, selectors.EVENT_READ)
        self._grace_s: int = spec.get("terminationGracePeriodSeconds", 30)
        self._restart_policy: str = spec.get("restartPolicy", "Always")

    def wake(self) -> None:
        """Makes the worker look at its pod."""
        with self._wake_lock:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    def submit(self, command: Callable[[], None]) -> None:
        """Runs a command in the worker's thread."""
        self._commands.append(command)
        self.wake()

    def stop(self) -> None:
        """Kills every process and ends the worker, without a report."""
        self._closing = True
        self.wake()

    @property
    def main(self) -> Container:
        """The first container that is none of its initial ones."""
        return next(each for each in self.containers if not each.init)

    def begin_beside(
        self, run: str, command: list[str], variables: dict[str, str], output: Path
    ) -> subprocess.Popen[bytes] | None:
        """Starts another process in the main container; None where that run of it is over."""
        if self.silent or self.main.process is None:
            return None
        return self.main.begin_beside(
            run, self._launcher.argv(self.main, command), variables, output
        )

    def evict(self, reason: str, message: str) -> None:
        """Fails the pod and kills its processes."""

        def fail() -> None:
            now = self.kubelet.api.store.timestamp()
            disrupted = condition("DisruptionTarget", True, "TerminationByKubelet", message, now)
            self._outcome = {"phase": "Failed", "reason": reason, "message": message}
            self._outcome["conditions"] = [disrupted]
            self.kill()

        self.submit(fail)

    def kill(self, reason: str | None = None) -> None:
        """Kills the processes of all containers."""
        for each in self.containers:
            each.kill(reason)

    def run(self) -> None:
        try:
            while not self._closing:
                wait = self._step()
                if wait is None:
                    break
                self._wait(wait)
        except Exception as error:
            self.kubelet.failures.append(f"{self.pod_name}: {error!r}")
            raise
        finally:
            self._close()

    def _close(self) -> None:
        self.kill()
        for each in self.containers:
            if each.process:
                each.reap(self.kubelet.api.store.timestamp())
        for probes in self._probes.values():
            probes.stop()
        for probes in self._probes.values():
            probes.join()
        self._selector.close()
        with self._wake_lock:
            os.close(self._wake_fd)
            self._wake_fd = -1
        self.kubelet.ended(self)

    def _wait(self, seconds: float) -> None:
        for result, _ in self._selector.select(seconds):
            if result.fd == self._wake_fd:
                os.eventfd_read(self._wake_fd)
                continue
            container: Container = result.data
            if container.process is None:
                continue
            if result.fd == container.pid_fd:
                self._reap(container)
            elif not container.pump():
                self._selector.unregister(result.fd)

    def _reap(self, container: Container) -> None:
        assert container.process is not None and container.process.stdout is not None
        self._selector.unregister(container.pid_fd)
        if container.process.stdout.fileno() in self._selector.get_map():
            self._selector.unregister(container.process.stdout.fileno())
        container.reap(self.kubelet.api.store.timestamp())
        if probes := self._probes.pop(container.name, None):
            probes.stop()

    def _step(self) -> float | None:
        """Moves the pod on; the seconds until the next look at most, or None at its end."""
        while self._commands:
            self._commands.popleft()()
        if self.silent:
            return 3600
        store = self.kubelet.api.store
        pod = store.read(BY_KIND["Pod"], self.namespace, self.pod_name)
        if pod is None or pod["metadata"]["uid"] != self.uid:
            return None
        if pod["metadata"].get("deletionTimestamp") and self._outcome is None:
            return self._terminate(pod)
        wait = 3600.0
        if self._outcome is None:
            wait = self._advance(pod)
        self._report(pod)
        running = any(each.running for each in self.containers)
        if self._outcome and pod["metadata"].get("deletionTimestamp") and not running:
            self.kubelet.confirm_deletion(pod)
        return wait

    def _terminate(self, pod: Object) -> float:
        """Stops the containers within their grace, then lets the pod go."""
        now = time.monotonic()
        grace = now + (pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        deadline = grace if self._deadline is None else min(self._deadline, grace)
        self._deadline = deadline
        running = [each for each in self.containers if each.running]
        are_sidecars = all(each.sidecar for each in running)
        for each in running:
            if are_sidecars or not each.sidecar:
                each.terminate(self._launcher.hook(pod, each))
            each.end_hook()
        if now >= deadline:
            self.kill()
        if running:
            self._report(pod)
            hooked = any(each.hook for each in running)
            return HOOK_POLL_S if hooked else max(deadline - now, HOOK_POLL_S)
        phase = ended_phase(self.containers)
        self._outcome = {"phase": phase}
        self._report(pod)
        self.kubelet.confirm_deletion(pod)
        return 3600

    def _report(self, pod: Object) -> None:
        api = self.kubelet.api

        def reported(current: Object) -> Object:
            if current["metadata"]["uid"] != self.uid:
                return current
            arguments = (self.containers, self.ip, self._begun, self._outcome)
            return {**current, "status": pod_status(current, *arguments, api.store.timestamp())}

        try:
            api.change("Pod", self.pod_name, self.namespace, reported, "status")
        except ApiError as error:
            if error.code != 404:
                raise

    def _advance(self, pod: Object) -> float:
        left = 3600.0
        if (limit := pod["spec"].get("activeDeadlineSeconds")) is not None:
            left = parse_time(self._begun) + limit - self.kubelet.api.store.now()
            if left <= 0:
                message = "Pod was active on the node longer than the specified deadline"
                self.evict("DeadlineExceeded", message)
                return 0
        if not self._prepared and not self._prepare(pod):
            return SOURCE_RETRY_S
        waits = [left]
        never = self._restart_policy == "Never"
        init_policy = "Never" if never else "OnFailure"
        for each in [each for each in self.containers if each.init]:
            waits.append(self._run(pod, each, init_policy))
            if each.exit_code and never:
                self._outcome = {"phase": "Failed"}
                return 0
            if each.exit_code != 0 and not (each.sidecar and each.started):
                return min(waits)
        main = [each for each in self.containers if not each.init]
        waits += [self._run(pod, each, self._restart_policy) for each in main]
        if all(each.exit_code is not None for each in main):
            failed = any(each.exit_code for each in main)
            self._outcome = {"phase": "Failed" if failed else "Succeeded"}
            self.kill()
            return 0
        return min(waits)

    def _prepare(self, pod: Object) -> bool:
        try:
            self._environment.prepare(pod)
        except MissingSourceError as error:
            message = f"MountVolume.SetUp failed: {error}"
            self.kubelet.api.event(pod, "FailedMount", message, True, "kubelet")
            return False
        self._prepared = True
        return True

    def _run(self, pod: Object, container: Container, policy: str) -> float:
        """Starts the container where that is due; the seconds until it is."""
        if container.running:
            return self._overdue(container)
        code = container.exit_code
        if code is not None:
            again = container.sidecar or policy == "Always" or (policy == "OnFailure" and code)
            if not again:
                return 3600
            container.back_off()
            message = f"Back-off restarting failed container {container.name} in pod"
            self.kubelet.api.event(pod, "BackOff", message, True, "kubelet")
        wait = container.due - time.monotonic()
        return wait if wait > 0 else self._start(pod, container)

    def _overdue(self, container: Container) -> float:
        """Kills a container that was told to stop too long ago; the seconds until it is."""
        if container.kill_at is None:
            return 3600
        container.end_hook()
        left = container.kill_at - time.monotonic()
        if left <= 0:
            container.kill()
        return HOOK_POLL_S if container.hook else max(left, HOOK_POLL_S)

    def _start(self, pod: Object, container: Container) -> float:
        wait = self._launcher.launch(pod, container)
        if container.process is not None:
            assert container.process.stdout is not None
            for fd in (container.pid_fd, container.process.stdout.fileno()):
                self._selector.register(fd, selectors.EVENT_READ, container)
            self._probe(pod, container)
        return wait

    def _probe(self, pod: Object, container: Container) -> None:
        kinds = ("startupProbe", "readinessProbe", "livenessProbe")
        if not any(container.spec.get(kind) for kind in kinds):
            container.started = container.ready = True
            return
        process = container.process

        def execute(command: list[str], timeout: float) -> int:
            return self._launcher.execute(container, command, timeout)

        def tell(kind: str, holds: bool) -> None:
            def take() -> None:
                if container.process is not process:
                    return
                if kind == "live":
                    container.terminate(self._launcher.hook(pod, container))
                    container.kill_at = time.monotonic() + self._grace_s
                else:
                    setattr(container, kind, holds)

            self.submit(take)

        self._probes[container.name] = probes = Probes(container.spec, self.ip, execute, tell)
        probes.start()
