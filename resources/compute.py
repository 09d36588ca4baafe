"""The door to compute: run an engine job as a process, follow it, and bring back its result.

timeout: a job stops after its own `timeout_s`, and after `stall_s` without a line of progress.
retry: an engine that was killed, or that asks for it (exit code 75), is started again, and
    resumes from its newest checkpoint; other failures are final.
cancel: an interrupted driver terminates the engine's process group, and kills it after 10 s; an
    engine whose driver vanished stops itself when its lease is old.
duplicate: a job is its work directory: a running one is adopted, a finished one is read.
partial write: `result.json` is renamed into place; without it a job has no result.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from engine import lease
from engine.progress import Progress, follow
from engine.protocol import JobResult, JobSpec
from resources.needs import Needs
from resources.warm import WarmUnavailable, fork, is_serving

R = TypeVar("R", bound=JobResult)
ATTEMPTS = 3
GRACE_S = 10.0
POLL_S = 0.02
LEASE_EVERY_S = 1.0
LOG_TAIL_BYTES = 4_000


class JobRefused(Exception):
    """The job can never work as it is asked for."""


class JobLost(Exception):
    """The job did not end well for reasons outside it; a later attempt may."""


@dataclass(frozen=True)
class Driver:
    """The dagster_run that waits for a job."""

    run: str = ""
    """Id of the first of its retries."""
    is_cancelled: Callable[[], bool] = lambda: True
    """Whether somebody has asked for it to end; an interrupted driver may just be lost."""


NOBODY = Driver()
ANY = Needs()


class Compute(Protocol):
    """What steps ask of the place where engines run."""

    ray_address: str | None

    def workdir(self, job: str) -> Path:
        """Folder of the job on this machine."""
        ...

    def ray_storage(self, job: str) -> str:
        """Where the checkpoints of several workers lie."""
        ...

    def loading(self, module: str, job: str) -> AbstractContextManager[None]:
        """Time in which the job is prepared, and its engine may load."""
        ...

    def run(
        self,
        module: str,
        spec: JobSpec,
        kind: type[R],
        on_progress: Callable[[Progress], None],
        stall_s: float = 1_800,
        needs: Needs = ANY,
        driver: Driver = NOBODY,
    ) -> R:
        """The result of `python -m MODULE SPEC`. Raises JobRefused, JobLost, or OSError."""
        ...

    def forget(self, job: str) -> None:
        """Remove what is left of the job."""
        ...

    def end_abandoned(self, is_wanted: Callable[[str], bool]) -> list[str]:
        """Names of what worked for dagster_runs that nobody waits for, and is ended now."""
        ...


class Process(Protocol):
    """A running engine."""

    pid: int

    def poll(self) -> int | None:
        """Exit code, or None while it runs."""
        ...


class _Adopted:
    """An engine that an earlier driver started; its exit code is not known."""

    def __init__(self, pid: int, workdir: Path) -> None:
        self.pid, self._workdir = pid, workdir

    def poll(self) -> int | None:
        return None if lease.holder(self._workdir) else -1


class LocalCompute:
    """Runs engine jobs as local processes, warm where the warm server answers."""

    def __init__(self, work: Path, warm_socket: Path, ray_address: str | None = None) -> None:
        self._work, self._warm_socket, self.ray_address = work, warm_socket, ray_address
        self._loading: dict[str, Process] = {}

    def workdir(self, job: str) -> Path:
        """Folder of the job."""
        return self._work / job

    def ray_storage(self, job: str) -> str:
        """Where the checkpoints of several workers lie."""
        return str(self.workdir(job) / "ray")

    @contextmanager
    def loading(self, module: str, job: str) -> Iterator[None]:
        """While the job is being prepared, its engine loads its modules, if it starts cold.

        An engine that `run` has not taken over at the end is stopped.
        """
        workdir = self.workdir(job)
        if lease.holder(workdir) is None and not (workdir / "spec.json").exists():
            workdir.mkdir(parents=True, exist_ok=True)
            if not is_serving(self._warm_socket):
                self._loading[job] = self._start_cold(module, workdir / "spec.json")
        try:
            yield
        finally:
            if process := self._loading.pop(job, None):
                stop(process)

    def run(
        self,
        module: str,
        spec: JobSpec,
        kind: type[R],
        on_progress: Callable[[Progress], None],
        stall_s: float = 1_800,
        needs: Needs = ANY,
        driver: Driver = NOBODY,
    ) -> R:
        """The result of `python -m MODULE SPEC`; of the needs and the driver nothing is used here.

        Raises JobRefused or JobLost with the engine's own words or the tail of its log.
        """
        found = kind.read(spec.workdir)
        if found is not None and found.failure is None:
            return found
        # Before the spec: an engine that waits for the spec looks at the lease next.
        spec.workdir.mkdir(parents=True, exist_ok=True)
        lease.renew(spec.workdir)
        path, message = spec.write(), ""
        for attempt in range(1, ATTEMPTS + 1):
            (spec.workdir / "result.json").unlink(missing_ok=True)
            code = self._attempt(module, spec, path, on_progress, stall_s)
            result = kind.read(spec.workdir)
            if result is not None and result.failure is None:
                return result
            if result is not None and result.failure and result.failure.kind == "refused":
                raise JobRefused(_explained(result.failure.message, result.failure.detail))
            message = result.failure.message if result and result.failure else _died(code, spec)
            on_progress(
                Progress(time.time(), attempt, ATTEMPTS, "attempt", f"did not end well: {message}")
            )
            if code == 2:
                raise JobRefused(message)
        raise JobLost(f"{message}\n(after {ATTEMPTS} attempts; work directory: {spec.workdir})")

    def forget(self, job: str) -> None:
        """Remove the job's work directory, once everything in it is stored elsewhere."""
        shutil.rmtree(self.workdir(job), ignore_errors=True)

    def end_abandoned(self, is_wanted: Callable[[str], bool]) -> list[str]:
        """Nothing: an engine whose driver is gone ends itself."""
        return []

    def _attempt(
        self,
        module: str,
        spec: JobSpec,
        path: Path,
        on_progress: Callable[[Progress], None],
        stall_s: float,
    ) -> int:
        lease.renew(spec.workdir)
        progress_file = spec.workdir / "progress.jsonl"
        offset = progress_file.stat().st_size if progress_file.exists() else 0
        process = self._adopt(spec) or self._loaded(spec.job) or self._start(module, path)
        try:
            return self._follow(process, spec, offset, on_progress, stall_s)
        except BaseException:
            stop(process)
            raise

    def _loaded(self, job: str) -> Process | None:
        process = self._loading.pop(job, None)
        return process if process and process.poll() is None else None

    def _adopt(self, spec: JobSpec) -> Process | None:
        pid = lease.holder(spec.workdir)
        return _Adopted(pid, spec.workdir) if pid else None

    def _start(self, module: str, path: Path) -> Process:
        with (path.parent / "engine.log").open("ab", buffering=0) as log:
            try:
                argv = [module, str(path)]
                return fork(self._warm_socket, module, argv, dict(os.environ), log.fileno())
            except WarmUnavailable:
                return self._start_cold(module, path)

    def _start_cold(self, module: str, path: Path) -> Process:
        with (path.parent / "engine.log").open("ab", buffering=0) as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, str(path)],
                # Threads that spin while they wait slow two jobs on the same cores tenfold.
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _follow(
        self,
        process: Process,
        spec: JobSpec,
        offset: int,
        on_progress: Callable[[Progress], None],
        stall_s: float,
    ) -> int:
        started = heard = renewed = time.monotonic()
        while True:
            code = process.poll()
            for line, end in follow(spec.workdir, offset):
                offset, heard = end, time.monotonic()
                on_progress(line)
            if code is not None:
                return code
            now = time.monotonic()
            if now - started > spec.timeout_s:
                raise JobRefused(f"the job ran longer than {spec.timeout_s:.0f} s and was stopped")
            if now - heard > stall_s:
                raise JobRefused(
                    f"the job reported nothing for {stall_s:.0f} s and was stopped as hung; a "
                    "trainer must call ray.train.report at least that often\n"
                    + _tail(spec.workdir / "engine.log")
                )
            if now - renewed > LEASE_EVERY_S:
                lease.renew(spec.workdir)
                renewed = now
            time.sleep(POLL_S)


def stop(process: Process) -> None:
    """Terminate the process group, kill what is left of it after the grace, and wait."""
    for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            return
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            if process.poll() is not None:
                return
            time.sleep(POLL_S)


def _died(code: int, spec: JobSpec) -> str:
    how = f"was killed by signal {-code}" if code < -1 else f"ended with code {code}"
    return f"the engine process {how} without a result\n{_tail(spec.workdir / 'engine.log')}"


def _explained(message: str, detail: str) -> str:
    return f"{message}\n{detail}" if detail else message


def _tail(log: Path) -> str:
    try:
        return log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
    except FileNotFoundError:
        return ""
