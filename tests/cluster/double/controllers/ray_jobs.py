"""What Ray's head does for jobs: it runs the driver of each, keeps its log, and stops it.

A head knows the jobs that were submitted to this run of it, and no others.
"""

import contextlib
import json
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import yaml

from tests.cluster.double.api.resource_types import Object
from tests.cluster.double.nodes.kubelet import Kubelet

STOP_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"
CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
DEFAULT_STOP_WAIT_S = 3
LOG_LINES = 10
LOG_CHARACTERS = 20_000

_POLL_S = 0.02


def _is_over(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _tree(pid: int) -> list[psutil.Process]:
    try:
        driver = psutil.Process(pid)
        return [driver, *driver.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _signal(processes: list[psutil.Process], send: Callable[[psutil.Process], None]) -> None:
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            send(each)


class Submission:
    """One job that was submitted to one run of a head."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, stop_wait_s: float):
        self.log = log
        self.status, self.message = "RUNNING", "Job is currently running."
        self.pid = process.pid
        self._process, self._stop_wait_s = process, stop_wait_s
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def watch(self, on_end: Callable[[], None]) -> None:
        """Calls the function once the driver has ended."""
        self._begin(lambda: self._await_end(on_end))

    def _begin(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=f"ray-job-{self.pid}")
        self._threads.append(thread)
        thread.start()

    def _await_end(self, on_end: Callable[[], None]) -> None:
        code = self._process.wait()
        if self._stopping:
            self.status, self.message = "STOPPED", "Job was intentionally stopped."
        elif code == 0:
            self.status, self.message = "SUCCEEDED", "Job finished successfully."
        else:
            self.status, self.message = "FAILED", self._failure(code)
        on_end()

    def _failure(self, code: int) -> str:
        said = f"Job entrypoint command failed with exit code {code}"
        lines = self.log.read_text(errors="replace").splitlines(keepends=True)[-LOG_LINES:]
        if not lines:
            return f"{said}. No logs available."
        tail = "".join(lines)[-LOG_CHARACTERS:]
        return f"{said}, last available logs (truncated to 20,000 chars):\n{tail}"

    def stop(self) -> None:
        """Asks the driver and everything under it to end, and kills what is left; does not wait."""
        if not self._stopping:
            self._stopping = True
            self._begin(self._stop)

    def _stop(self) -> None:
        processes, end = _tree(self.pid), time.monotonic() + self._stop_wait_s
        _signal(processes, psutil.Process.terminate)
        while not all(map(_is_over, processes)):
            if time.monotonic() > end:
                _signal(processes, psutil.Process.kill)
                return
            time.sleep(_POLL_S)

    def join(self) -> None:
        """Waits for the threads; the processes must be ending."""
        for thread in self._threads:
            thread.join()


class RayJobs:
    """The jobs of every run of every head."""

    def __init__(self, kubelet: Kubelet):
        self._kubelet = kubelet
        self._folder = tempfile.TemporaryDirectory(prefix="ray-")
        self._known: dict[tuple[str, str], Submission] = {}

    def of(self, head: Object, job: str) -> Submission | None:
        """The job of this id, where the present run of the head knows it."""
        return self._known.get((self._kubelet.run_of(head) or "", job))

    def submit(
        self, head: Object, job: str, spec: Object, on_end: Callable[[], None]
    ) -> Submission | None:
        """Starts the driver; None where the head cannot be reached."""
        if (run := self._kubelet.run_of(head)) is None:
            return None
        runtime = yaml.safe_load(spec.get("runtimeEnvYAML") or "") or {}
        own = {name: str(value) for name, value in (runtime.get("env_vars") or {}).items()}
        named = {"job_submission_id": job, "job_name": job, **(spec.get("metadata") or {})}
        config = json.dumps({"runtime_env": runtime, "metadata": named})
        variables = {**own, CONFIG: config, "PYTHONUNBUFFERED": "1"}
        log = Path(self._folder.name, f"{len(self._known)}-job-driver-{job}.log")
        process = self._driver(head, run, spec.get("entrypoint", ""), variables, log)
        if process is None:
            return None
        wait_s = own.get(STOP_WAIT) or self._kubelet.variable(head, STOP_WAIT)
        created = Submission(process, log, float(wait_s or DEFAULT_STOP_WAIT_S))
        self._known[run, job] = created
        created.watch(on_end)
        return created

    def _driver(
        self, head: Object, run: str, entrypoint: str, variables: dict[str, str], log: Path
    ) -> subprocess.Popen[bytes] | None:
        begin = self._kubelet.begin_beside
        try:
            return begin(head, run, shlex.split(entrypoint), variables, log)
        except OSError:
            # Its shell says what is wrong with it.
            return begin(head, run, ["sh", "-c", entrypoint], variables, log)

    def all(self, job: str) -> list[Submission]:
        """Every submission of this id, the oldest first."""
        return [each for (_, known), each in self._known.items() if known == job]

    def close(self) -> None:
        """Waits until the drivers have ended, and removes their logs."""
        for each in self._known.values():
            each.join()
        self._folder.cleanup()
