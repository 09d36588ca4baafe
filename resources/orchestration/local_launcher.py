"""Starts dagster_runs as processes of this machine; the adapter to run processes.

timeout: run monitoring fails a dagster_run whose process does not start in time.
retry: run monitoring starts a lost dagster_run again; this launcher launches once.
cancel: SIGTERM to the process named in the dagster_run's tag; it survives restarts of everything.
duplicate: Dagster launches a dagster_run id once.
partial write: a launch that fails before the tag is set fails the dagster_run.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

from dagster import DagsterEventType, DagsterRun
from dagster import _check as check

# Dagster has no public names for the parts of a launcher.
from dagster._core.launcher.base import (
    CheckRunHealthResult,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
)
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from typing_extensions import override

from engine.warm.client import WarmUnavailable, fork
from resources.orchestration.run_projects import ONLY_PROJECTS, projects_of
from resources.settings import Settings

WORKER_TAG = "orrery/worker"
LOG_TAIL_BYTES = 4_000


class Worker(NamedTuple):
    """A run process, told apart from later processes with the same pid by when it was born."""

    host: str
    pid: int
    born: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """The process with this pid now."""
        return cls(socket.gethostname(), pid, _born(pid) or "gone")

    @classmethod
    def parse(cls, tag: str) -> Self:
        """The process that the tag names."""
        host, pid, born = tag.rsplit(":", 2)
        return cls(host, int(pid), born)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.born}"

    @property
    def is_here(self) -> bool:
        """Whether the process is one of this machine."""
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs on this machine."""
        return _born(self.pid) == self.born


class LocalLauncher(RunLauncher, ConfigurableClass):
    """Starts each dagster_run as a local process, forked from the warm server where it answers."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data, self._settings = inst_data, Settings()
        super().__init__()

    @property
    @override
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    @override
    def config_type(cls) -> dict:
        return {}

    @classmethod
    @override
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        return cls(inst_data=inst_data)

    @override
    def launch_run(self, context: LaunchRunContext) -> None:
        """Start the process and tag the dagster_run with it."""
        run = context.dagster_run
        log = self._log_of(run.run_id)
        log.parent.mkdir(parents=True, exist_ok=True)
        env = {**os.environ, "DAGSTER_RUN_JOB_NAME": run.job_name, ONLY_PROJECTS: projects_of(run)}
        pid, how = self._start(self._command(run), env, log)
        self._instance.add_run_tags(run.run_id, {WORKER_TAG: str(Worker.of(pid))})
        message = f"Started a {how} run process, pid {pid}, output in {log}"
        self._instance.report_engine_event(message, run, cls=self.__class__)

    def _command(self, run: DagsterRun) -> list[str]:
        arguments = ExecuteRunArgs(
            job_origin=check.not_none(run.job_code_origin),
            run_id=run.run_id,
            instance_ref=self._instance.get_ref(),
            set_exit_code_on_failure=True,
        ).get_command_args()
        # The arguments before name an interpreter, which a forked process has already.
        return ["dagster", *arguments[arguments.index("api") :]]

    def _start(self, command: list[str], env: dict[str, str], log: Path) -> tuple[int, str]:
        with log.open("ab", buffering=0) as output:
            try:
                child = fork(self._settings.warm_socket, "dagster", command, env, output.fileno())
                child.forget()
                return child.pid, "warm"
            except WarmUnavailable:
                process = subprocess.Popen(
                    [sys.executable, "-m", *command],
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
                # Somebody must wait for it, or it stays a zombie that looks alive.
                threading.Thread(target=process.wait, daemon=True).start()
                return process.pid, "cold"

    @override
    def terminate(self, run_id: str) -> bool:
        """Ask the process to stop; a dagster_run without a living process is cancelled at once."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        worker = self._worker(run)
        if worker is None or not worker.is_here or not worker.is_alive:
            self._instance.report_run_canceled(run, "No run process was alive.")
        else:
            os.kill(worker.pid, signal.SIGTERM)
        return True

    @property
    @override
    def supports_check_run_worker_health(self) -> bool:
        return True

    @override
    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """FAILED only for a process that is known to be gone: any other answer than RUNNING makes
        Dagster fail the dagster_run."""
        worker = self._worker(run)
        if worker is None or not worker.is_here:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "the process is not known here")
        if worker.is_alive:
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(worker.pid))
        message = f"run process {worker.pid} is gone: it was killed or the machine restarted"
        return CheckRunHealthResult(WorkerStatus.FAILED, message, run_worker_id=str(worker.pid))

    @override
    def get_run_worker_debug_info(
        self, run: DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        """Last output of the process."""
        try:
            output = self._log_of(run.run_id).read_bytes()
        except OSError:
            return None
        return output[-LOG_TAIL_BYTES:].decode(errors="replace")

    def _log_of(self, run_id: str) -> Path:
        return self._settings.state.absolute() / "workers" / f"{run_id}.log"

    def _worker(self, run: DagsterRun) -> Worker | None:
        if tag := run.tags.get(WORKER_TAG):
            return Worker.parse(tag)
        # Only a dagster_run of the command line has no origin; a launched one is found by its tag.
        if run.remote_job_origin is not None:
            return None
        return self._worker_of_command_line(run)

    def _worker_of_command_line(self, run: DagsterRun) -> Worker | None:
        """The process of `dagster asset materialize` and the like, which executes in itself."""
        events = self._instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
        for event in events:
            details = check.not_none(event.dagster_event).engine_event_data.metadata
            if pid := details.get("pid"):
                worker = Worker.of(int(str(pid.value)))
                # A process that is younger than the event is another one with the same process id.
                is_reused = worker.born != "gone" and _born_at(worker.born) > event.timestamp + 1
                return worker._replace(born="gone") if is_reused else worker
        return None


def _born(pid: int) -> str | None:
    """Start of the process in clock ticks since boot; None when it is dead or a zombie."""
    try:
        # The second field is the name in brackets, which may hold spaces and brackets itself.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _born_at(born: str) -> float:
    up_s = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - up_s + int(born) / os.sysconf("SC_CLK_TCK")
