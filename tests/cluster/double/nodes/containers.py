"""A container as a local process with all that it starts, a log, and a state."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from tests.cluster.double.api.resource_types import Object
from tests.cluster.double.nodes.container_logs import ContainerLog
from tests.cluster.double.nodes.container_processes import kill_run, mark, new_run
from tests.cluster.double.nodes.images import ImagePlan

BACKOFF_S = 0.1
MAX_BACKOFF_S = 1.0

_READ_BYTES = 1 << 16


class Container:
    """One container of a pod, over all its restarts."""

    def __init__(self, spec: Object, init: bool):
        self.spec = spec
        self.name: str = spec["name"]
        self.init = init
        self.sidecar = init and spec.get("restartPolicy") == "Always"
        self.state: Object = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: Object = {}
        self.restarts = 0
        self.started = False
        self.ready = False
        self.due = 0.0
        self.log: ContainerLog | None = None
        self.previous_log: ContainerLog | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.hook: subprocess.Popen[bytes] | None = None
        self.pid_fd = -1
        self.reason: str | None = None
        self.stopping = False
        self.kill_at: float | None = None
        self.plan: ImagePlan | None = None
        self.variables: dict[str, str] = {}
        self.cwd = "/"
        self.run = ""
        self.ending = False
        # Others begin processes beside the main one while the pod's thread may end it.
        self._alive = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.process is not None

    @property
    def exit_code(self) -> int | None:
        """Exit code of the run that ended last, where none has begun since."""
        return (self.state.get("terminated") or {}).get("exitCode")

    def wait_for(self, reason: str, message: str = "") -> bool:
        """Shows the container waiting; whether that is news."""
        waiting = {"reason": reason, **({"message": message} if message else {})}
        news = self.state != {"waiting": waiting}
        self.state = {"waiting": waiting}
        return news

    def start(
        self, plan: ImagePlan, argv: list[str], variables: dict[str, str], cwd: str, now: str
    ) -> None:
        """Starts the process."""
        self.run = new_run()
        self.plan, self.variables, self.cwd = plan, {**variables, **mark(self.run)}, cwd
        self.previous_log, self.log = self.log, ContainerLog()
        self.process = subprocess.Popen(
            argv,
            env=self.variables,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self.pid_fd = os.pidfd_open(self.process.pid)
        self.reason, self.stopping, self.ending, self.kill_at = None, False, False, None
        self.state = {"running": {"startedAt": now}}

    def begin_beside(
        self, run: str, argv: list[str], variables: dict[str, str], output: Path
    ) -> subprocess.Popen[bytes] | None:
        """Starts another process in this run of the container, which it does not outlive."""
        with self._alive, output.open("wb") as file:
            if self.process is None or self.ending or self.run != run:
                return None
            return subprocess.Popen(
                argv,
                env={**self.variables, **variables},
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def fail_to_start(self, message: str, now: str) -> None:
        """Shows a process that could not be started as one that has ended."""
        self.previous_log, self.log = self.log, ContainerLog()
        self.log.write(message.encode())
        self.log.close()
        ended = {"exitCode": 128, "reason": "StartError", "message": message}
        self.state = {"terminated": {**ended, "startedAt": now, "finishedAt": now}}

    def pump(self) -> bool:
        """Moves output into the log; whether more may come."""
        assert self.process is not None and self.process.stdout is not None
        try:
            data = os.read(self.process.stdout.fileno(), _READ_BYTES)
        except BlockingIOError:
            return True
        if data and self.log:
            self.log.write(data)
        return bool(data)

    def reap(self, now: str) -> None:
        """Takes the exit of the process, with what it left running and in its pipe."""
        assert self.process is not None and self.process.stdout is not None
        assert self.log is not None
        code, output = self.process.wait(), self.process.stdout
        with self._alive:
            self.kill()
            self.process, self.started, self.ready = None, False, False
        while True:
            try:
                data = os.read(output.fileno(), _READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                break
            self.log.write(data)
        self.log.close()
        output.close()
        os.close(self.pid_fd)
        exit_code = 128 - code if code < 0 else code
        reason = self.reason or ("Error" if exit_code else "Completed")
        begun = self.state["running"]["startedAt"]
        ended = {"exitCode": exit_code, "reason": reason, "startedAt": begun, "finishedAt": now}
        if code < 0:
            ended["signal"] = -code
        if exit_code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            ended["message"] = b"".join(self.log.read(tail=80))[-2048:].decode(errors="replace")
        ended["containerID"] = f"local://{self.name}"
        self.state = {"terminated": ended}

    def back_off(self) -> None:
        """Waits before the next run."""
        self.last_state = self.state
        wait = min(BACKOFF_S * 2**self.restarts, MAX_BACKOFF_S)
        self.due = time.monotonic() + wait
        self.restarts += 1
        self.wait_for("CrashLoopBackOff", f"back-off {wait:.1f}s restarting failed container")

    def terminate(self, argv: list[str] | None) -> None:
        """Begins to stop: the preStop command where there is one, SIGTERM otherwise.

        The signal is for the main process alone, as a runtime sends it.
        """
        if self.stopping or self.process is None:
            return
        self.stopping = True
        if argv:
            self.hook = subprocess.Popen(
                argv,
                env=self.variables,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        else:
            self.process.send_signal(signal.SIGTERM)

    def end_hook(self) -> None:
        """Sends SIGTERM once the preStop command has ended."""
        if self.hook and self.hook.poll() is not None:
            self.hook = None
            if self.process:
                self.process.send_signal(signal.SIGTERM)

    def kill(self, reason: str | None = None) -> None:
        """Kills every process of the container, the preStop command among them."""
        if reason:
            self.reason = reason
        if self.process:
            # First, lest the end of one process passes for something that befell it alone.
            self.ending = True
            kill_run(self.run)
        if self.hook:
            self.hook.wait()
            self.hook = None

    def status(self) -> Object:
        """Its entry in `containerStatuses`."""
        shown: dict[str, Any] = {
            "name": self.name,
            "image": self.spec["image"],
            "imageID": f"local://{self.spec['image']}" if self.log else "",
            "state": self.state,
            "lastState": self.last_state,
            "ready": self.ready or (self.init and self.exit_code == 0),
            "restartCount": self.restarts,
            "started": self.started,
        }
        if self.log:
            shown["containerID"] = f"local://{self.name}"
        return shown
