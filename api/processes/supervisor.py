"""The supervisor: starts the processes of `orrery up`, keeps them, and leaves none behind."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable

import psutil

from api.processes.plan import ProcessPlan, env_vars, is_free, log_of, plans, start
from api.processes.rotation import Rotation
from api.processes.schedule import CollectionSchedule
from engine import lease
from resources.running_instance import note_addresses
from resources.settings import Settings

READY_WITHIN_S = 120.0
RUNS_STOP_WITHIN_S = 30.0
# More than all of `Supervisor.stop`: the gateway and the daemon, the runs, then the reconciler.
DOWN_WITHIN_S = 150.0
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
POLL_S = 0.1


class PortTaken(Exception):
    """Another program uses a port that a process needs."""


class NotReady(Exception):
    """A process did not become ready."""


class _Kept:
    """A process that is started again, after growing pauses, whenever it ends."""

    def __init__(self, plan: ProcessPlan, settings: Settings) -> None:
        self.plan, self._settings = plan, settings
        self.process = start(plan, settings)
        self._restarts = 0
        self._due: float | None = None

    def keep(self, say: Callable[[str], None]) -> None:
        """Start the process again if it has ended and its pause is over."""
        if self.process.poll() is None:
            return
        if self._due is None:
            pause_s = BACKOFF_S[min(self._restarts, len(BACKOFF_S) - 1)]
            self._due = time.monotonic() + pause_s
            code, log = self.process.returncode, log_of(self.plan, self._settings)
            say(f"{self.plan.name} ended with {code}; again in {pause_s} s ({log})")
        elif time.monotonic() >= self._due:
            self._restarts, self._due = self._restarts + 1, None
            self.process = start(self.plan, self._settings)


class Supervisor:
    """Everything that runs on one machine for one state folder."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings, self._say = settings, say
        self._kept: list[_Kept] = []
        self._collections = CollectionSchedule(settings, say)
        self._lock: int | None = None
        self._stopping = False

    def start(self) -> None:
        """Start every process.

        Raises PortTaken, or engine.lease.AlreadyRunning when another supervisor keeps the
        state folder; then nothing was started.
        """
        # Keys, sessions and data lie there: for nobody else to read.
        os.umask(0o077)
        folder = self._settings.state / "up"
        folder.mkdir(parents=True, exist_ok=True)
        self._settings.state.chmod(0o700)
        self._lock = lease.hold(folder)
        wanted = plans(self._settings)
        for plan in wanted:
            self._require_free_ports(plan)
        note_addresses(self._settings)
        for plan in wanted:
            self._kept.append(_Kept(plan, self._settings))

    def _require_free_ports(self, plan: ProcessPlan) -> None:
        for setting, port in plan.ports.items():
            if not is_free(self._settings.host, port):
                self._release()
                raise PortTaken(
                    f"port {port} of {self._settings.host}, for {plan.name}, is taken by "
                    f"another program; stop it, or choose another port with {setting}"
                )

    def wait_ready(self, names: set[str] | None = None) -> None:
        """Return once the named processes (all by default) are ready.

        Raises NotReady with the tail of the log.
        """
        end = time.monotonic() + READY_WITHIN_S
        waiting = [k for k in self._kept if names is None or k.plan.name in names]
        while waiting and not self._stopping:
            waiting = [kept for kept in waiting if not kept.plan.is_ready()]
            for kept in waiting:
                kept.keep(self._say)
                if time.monotonic() > end:
                    log = log_of(kept.plan, self._settings)
                    tail = log.read_text(errors="replace")[-1500:]
                    raise NotReady(f"{kept.plan.name} is not ready; {log} ends with:\n{tail}")
            time.sleep(POLL_S)

    def keep(self) -> None:
        """Keep every process, its log short, and the schedule, until asked to stop."""
        rotation = Rotation(self._settings.state.absolute())
        while not self._stopping:
            for kept in self._kept:
                kept.keep(self._say)
            rotation.look()
            self._collections.look()
            time.sleep(POLL_S)

    def ask_to_stop(self, *_: object) -> None:
        """End `keep` and `wait_ready`; safe to call from a signal handler."""
        self._stopping = True

    def stop(self) -> None:
        """End every process and every dagster_run, and wait until all are gone."""
        self._collections.stop()
        # Collected first, because the descendants of a process cannot be found once it is gone.
        started = [process for kept in self._kept for process in _family_of(kept.process)]
        starters, others = self._divided()
        # Ended first, so that no dagster_run starts while the running ones are cancelled.
        self._end(starters)
        if starters:
            cancel_runs(self._settings)
        self._end(others)
        _, left = psutil.wait_procs(started, timeout=1)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=5)
        self._kept.clear()
        self._release()

    def _divided(self) -> tuple[list[_Kept], list[_Kept]]:
        """The processes that start dagster_runs, and the others."""
        starters = [kept for kept in self._kept if kept.plan.starts_runs]
        return starters, [kept for kept in self._kept if not kept.plan.starts_runs]

    def _end(self, kept: list[_Kept]) -> None:
        for each in kept:
            each.process.terminate()
        began = time.monotonic()
        for each in kept:
            end = began + each.plan.stops_within_s
            try:
                each.process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                each.process.kill()
                each.process.wait()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def take_down(settings: Settings) -> bool:
    """Whether an `orrery up` was running; it and all it started have ended now.

    Raises TimeoutError when it does not end.
    """
    folder = settings.state / "up"
    pid = lease.holder(folder)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + DOWN_WITHIN_S
    while lease.holder(folder) is not None:
        if time.monotonic() > end:
            raise TimeoutError(f"process {pid} did not stop within {DOWN_WITHIN_S:.0f} s")
        time.sleep(POLL_S)
    return True


def cancel_runs(settings: Settings) -> None:
    """Cancel the dagster_runs that are running, and wait for their processes; queued ones stay."""
    os.environ.update(env_vars(settings))
    import dagster as dg

    running = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
    with dg.DagsterInstance.get() as instance:
        cancelled = [run.run_id for run in instance.get_runs(running)]
        if not cancelled:
            return
        for run_id in cancelled:
            instance.run_launcher.terminate(run_id)
        end = time.monotonic() + RUNS_STOP_WITHIN_S
        while time.monotonic() < end:
            if all(run.is_finished for run in instance.get_runs(dg.RunsFilter(run_ids=cancelled))):
                return
            time.sleep(POLL_S)


def _family_of(process: subprocess.Popen) -> list[psutil.Process]:
    """The process and all its descendants."""
    try:
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
