"""The compute adapter of the embedded default: engine jobs as processes of this machine.

timeout: a job stops after its own `timeout_s`, and after `stall_s` without a line of progress.
retry: an engine that was killed, or that asks for it (exit code 75), is started again, and
    resumes from its newest checkpoint; other failures are final.
cancel: an interrupted driver terminates the engine's process group, and kills it after 10 s; an
    engine whose driver vanished stops itself when its lease is old.
duplicate: a job is its work directory: a running one is adopted, a finished one is read.
partial write: `result.json` is renamed into place, and ends the job: what its process still does,
    or has left in its process group, is ended with it.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from engine import lease
from engine.output import Output, OutputFile, OutputPacer
from engine.overtime import Overtime
from engine.progress import Progress, follow
from engine.protocol import EXIT_DONE, EXIT_REFUSED, Failure, JobResult, JobSpec
from engine.warm.client import WarmUnavailable, fork, is_serving
from resources.compute.capacity import memory_kills, of_this_machine
from resources.compute.contract import (
    ANY,
    ATTEMPTS,
    DELETED,
    NOBODY,
    Driver,
    JobFailed,
    JobLost,
    JobRefused,
    ignore,
)
from resources.compute.job_clock import JobClock, Limits
from resources.compute.log_rules import end_of, rule_of, ruled
from resources.compute.process_group import Process, kill_rest, stop
from resources.compute.requirements import Requirements

R = TypeVar("R", bound=JobResult)
POLL_S = 0.02
# Many times within the lease (30 s), so that a slow driver is not taken for one that is gone.
LEASE_EVERY_S = 1.0
# Less often than the lease, because each time Dagster's database is asked.
DRIVER_EVERY_S = 5.0
OUTPUT_EVERY_S = 0.2
LOG_TAIL_BYTES = 4_000


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
        # With the spec of an earlier driver the engine would begin that work at once.
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
        on_output: Callable[[Output], None] = ignore,
        stall_s: float = 1_800,
        requirements: Requirements = ANY,
        driver: Driver = NOBODY,
    ) -> R:
        """The result of `python -m MODULE SPEC`; the needs are used on a cluster alone.

        Raises JobRefused or JobLost with the engine's own words or the tail of its log.
        """
        spec = spec.model_copy(update={"stall_s": stall_s})
        earlier = kind.read(spec.workdir)
        if earlier is not None and earlier.failure is None:
            return earlier
        # Before the spec: an engine that waits for the spec looks at the lease next.
        spec.workdir.mkdir(parents=True, exist_ok=True)
        lease.renew(spec.workdir)
        path, lost = spec.write(), JobFailed("")
        log = spec.workdir / "engine.log"
        for attempt in range(1, ATTEMPTS + 1):
            # The result of an earlier attempt would end this one.
            (spec.workdir / "result.json").unlink(missing_ok=True)
            kills, start = memory_kills(), log.stat().st_size if log.exists() else 0
            code = self._attempt(module, spec, path, on_progress, on_output, stall_s, driver)
            result = kind.read(spec.workdir)
            if result is not None and result.failure is None:
                return result
            failed = _of_result(result.failure) if result and result.failure else None
            failed = failed or _died(code, spec, is_for_memory=memory_kills() > kills)
            failed = ruled(failed, rule_of(requirements.log_rules, end_of(log, start)))
            if isinstance(failed, JobRefused):
                raise failed
            lost, said = failed, f"did not end well: {failed}"
            on_progress(Progress(time.time(), attempt, ATTEMPTS, "attempt", said))
        message = f"{lost}\n(after {ATTEMPTS} attempts; work directory: {spec.workdir})"
        raise lost.told_as(JobLost, message)

    def lack_of(self, requirements: Requirements) -> str:
        """What this machine lacks; a Ray cluster that several workers join may have more."""
        if self.ray_address is not None and requirements.workers > 1:
            return ""
        return of_this_machine().lack_of(requirements)

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
        on_output: Callable[[Output], None],
        stall_s: float,
        driver: Driver,
    ) -> int:
        lease.renew(spec.workdir)
        progress_file = spec.workdir / "progress.jsonl"
        offset = progress_file.stat().st_size if progress_file.exists() else 0
        output = _OutputFollower(spec.workdir / "engine.log", on_output)
        process = self._adopt(spec) or self._loaded(spec.job) or self._start(module, path)
        try:
            watcher = _Watcher(process, spec, offset, on_progress, output, driver)
            return watcher.to_the_end(stall_s)
        except BaseException:
            stop(process)
            raise
        finally:
            # First, so that nothing is printed after the last look.
            kill_rest(process)
            output.look(last=True)

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
                env={"OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1", **os.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # `stop` signals a process group, which the engine therefore leads.
                start_new_session=True,
            )


class _Watcher:
    """One driver's view of an engine process, from its start or adoption to its end."""

    def __init__(
        self,
        process: Process,
        spec: JobSpec,
        offset: int,
        on_progress: Callable[[Progress], None],
        output: "_OutputFollower",
        driver: Driver,
    ) -> None:
        self._process, self._spec, self._offset = process, spec, offset
        self._on_progress, self._output, self._driver = on_progress, output, driver
        self._renewed = self._checked = time.monotonic()
        self._overtime = Overtime(spec.workdir)

    def to_the_end(self, stall_s: float) -> int:
        """Exit code of the process. Raises JobRefused when it runs too long or says nothing."""
        clock = JobClock(Limits(self._spec.timeout_s, stall_s), time.monotonic())
        while True:
            # Asked before the look, so that the last look comes after the end of the process.
            code = self._process.poll()
            self._look(clock)
            if code is not None:
                return code
            if self._overtime.is_over():
                stop(self._process)
                return EXIT_DONE
            clock.require_time("", lambda: _tail(self._spec.workdir / "engine.log"))
            self._keep_up_with_the_driver()
            time.sleep(POLL_S)

    def _look(self, clock: JobClock) -> None:
        now, offset = time.monotonic(), self._offset
        for line, end in follow(self._spec.workdir, offset):
            self._offset = end
            self._on_progress(replace(line, ran_s=round(clock.ran_s, 3)))
        self._output.look()
        clock.look(now, has_reported=self._offset != offset)

    def _keep_up_with_the_driver(self) -> None:
        """Tell the engine that its driver lives, and end it when nobody can ask for its end."""
        now = time.monotonic()
        if now - self._renewed > LEASE_EVERY_S:
            lease.renew(self._spec.workdir)
            self._renewed = now
        if now - self._checked > DRIVER_EVERY_S:
            self._checked = now
            if self._driver.is_deleted():
                raise JobRefused(DELETED)


class _OutputFollower:
    """Shows what the engine prints while it runs."""

    def __init__(self, log: Path, show: Callable[[Output], None]) -> None:
        self._file, self._show, self._pacer = OutputFile(log), show, OutputPacer()
        self._due = time.monotonic()

    def look(self, *, last: bool = False) -> None:
        """Show what was printed since the last look, a few times in a second at most."""
        if self._show is ignore or (not last and time.monotonic() < self._due):
            return
        self._due = time.monotonic() + OUTPUT_EVERY_S
        self._pacer.add(*self._file.new())
        if message := self._pacer.message(last=last):
            self._show(message)


def _of_result(failure: Failure) -> JobFailed:
    if failure.kind == "refused":
        return JobRefused.of(failure)
    return JobLost(failure.message, failure.cause, failure.detail)


def _died(code: int, spec: JobSpec, *, is_for_memory: bool) -> JobFailed:
    """That of an engine without a result."""
    tail = _tail(spec.workdir / "engine.log")
    # -1 stands for an exit code that is not known, and not for a signal.
    how = f"was killed by signal {-code}" if code < -1 else f"ended with code {code}"
    is_for_memory = is_for_memory and code in (-signal.SIGKILL, -1)
    why = ", because the machine had no memory left" if is_for_memory else ""
    message = f"the engine process {how}{why}, without a result\n{tail}"
    # The engine could not use its spec; then it writes no result.
    if code == EXIT_REFUSED:
        return JobRefused(message, "refused", tail)
    return JobLost(message, "out_of_memory" if is_for_memory else "lost_worker", tail)


def _tail(log: Path) -> str:
    try:
        return log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
    except FileNotFoundError:
        return ""
