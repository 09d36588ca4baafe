"""Starts the processes of a pod's containers."""

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.double.api.resource_types import Object
from tests.cluster.double.nodes.containers import Container
from tests.cluster.double.nodes.images import ImagePlan, base_environment
from tests.cluster.double.nodes.pod_environment import MissingSourceError, PodEnvironment

if TYPE_CHECKING:
    from tests.cluster.double.nodes.kubelet import Kubelet

SOURCE_RETRY_S = 0.5
PULL_RETRY_S = 0.3


class Launcher:
    """Makes processes of what a pod's containers declare."""

    def __init__(self, kubelet: "Kubelet", environment: PodEnvironment, folder: Path, ip: str):
        self._kubelet = kubelet
        self._environment = environment
        self._folder = folder
        self._ip = ip

    def launch(self, pod: Object, container: Container) -> float:
        """Starts the container if it can be; the seconds until another try."""
        api, image = self._kubelet.api, container.spec["image"]
        if (plan := self._kubelet.image(image)) is None:
            return self._refuse_image(pod, container, image)
        now = api.store.timestamp()
        shown = {**pod, "status": {**pod["status"], "podIP": self._ip, "hostIP": "127.0.0.1"}}
        try:
            variables = self._variables(shown, container, plan)
        except MissingSourceError as error:
            if container.wait_for("CreateContainerConfigError", str(error)):
                api.event(pod, "Failed", f"Error: {error}", True, "kubelet")
            return SOURCE_RETRY_S
        command = self._environment.command(container.spec, list(plan.entrypoint), variables)
        cwd = self._environment.working_folder(container.spec, plan.cwd)
        try:
            container.start(plan, plan.argv(command), variables, cwd, now)
        except (OSError, ValueError) as error:
            container.fail_to_start(str(error), now)
            api.event(pod, "Failed", f"Error: {error}", True, "kubelet")
            return 0
        api.event(pod, "Started", f"Started container {container.name}", source="kubelet")
        return 3600

    def _variables(self, pod: Object, container: Container, plan: ImagePlan) -> dict[str, str]:
        base = base_environment(plan, str(self._folder), pod["metadata"]["name"])
        base["KUBECONFIG"] = str(self._kubelet.kubeconfig)
        return {**base, **self._environment.variables(pod, container.spec)}

    def _refuse_image(self, pod: Object, container: Container, image: str) -> float:
        answer = f'Failed to pull image "{image}": {image}: not found'
        if (container.state.get("waiting") or {}).get("reason") not in (
            "ErrImagePull",
            "ImagePullBackOff",
        ):
            container.wait_for("ErrImagePull", answer)
            self._kubelet.api.event(pod, "Failed", answer, True, "kubelet")
            self._kubelet.api.event(pod, "Failed", "Error: ErrImagePull", True, "kubelet")
        elif container.wait_for("ImagePullBackOff", f'Back-off pulling image "{image}"'):
            message = f'Back-off pulling image "{image}"'
            self._kubelet.api.event(pod, "BackOff", message, source="kubelet")
        container.due = time.monotonic() + PULL_RETRY_S
        return PULL_RETRY_S

    def hook(self, pod: Object, container: Container) -> list[str] | None:
        """The container's preStop command."""
        hook = (container.spec.get("lifecycle") or {}).get("preStop") or {}
        words = (hook.get("exec") or {}).get("command")
        if "sleep" in hook:
            words = ["sleep", str(hook["sleep"]["seconds"])]
        if not words or container.process is None:
            return None
        try:
            return self.argv(container, words)
        except OSError as error:
            self._kubelet.api.event(pod, "FailedPreStopHook", str(error), True, "kubelet")
            return None

    def execute(self, container: Container, command: list[str], timeout: float) -> int:
        """Runs a command beside the container's process; its exit code."""
        done = subprocess.run(
            self.argv(container, command),
            env=container.variables,
            cwd=container.cwd,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        return done.returncode

    def argv(self, container: Container, words: list[str]) -> list[str]:
        """A command line that runs in the container."""
        assert container.plan is not None
        return container.plan.argv(
            [self._environment.located(container.spec, word) for word in words]
        )
