"""Processes that answer: forked from a warm server, which has the libraries loaded that every
Bento needs; started cold where it cannot be had.

timeout: a fork takes at most `FORK_WITHIN_S`; a warm server loads for at most `LOADS_WITHIN_S`.
retry: a warm server that ends or hangs is started anew, with growing pauses while it ends at once.
cancel: a process gets SIGTERM when this one ends, also by kill -9. duplicate: each start is a new
process. partial write: none.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from engine.parent_death import die_with_parent
from engine.warm.client import WarmUnavailable, fork, is_serving

LOADED = (
    "numpy",
    "onnxruntime",
    "prometheus_client",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    # Loading gRPC starts nothing; its threads start with the first server.
    "grpc.aio",
    "grpc_health.v1.health",
    "grpc_health.v1.health_pb2_grpc",
)
"""Libraries of the warm server, and never code of a Bento: each has its own version of that."""
FORK_WITHIN_S = 1.0
LOADS_WITHIN_S = 20.0
LONGEST_PAUSE_S = 60.0
SETTLED_S = 5.0
"""A warm server that lives so long may be started anew at once."""
ENV_VARS = {
    # It reports to its vendor otherwise, from a thread, which a fork would break.
    "ORT_DISABLE_TELEMETRY": "1",
    # The event loop and the threads of gRPC share the heap, for less memory.
    "MALLOC_ARENA_MAX": "2",
}


class Process(Protocol):
    """A process that answers, or will soon."""

    pid: int

    def poll(self) -> int | None:
        """Exit code, or None while it runs."""
        ...

    def send_signal(self, number: int, /) -> None:
        """Signal it; nothing where it has ended."""
        ...


class Processes:
    """Starts processes that live as long as this one, and keeps the warm server for them."""

    def __init__(self, log: Path) -> None:
        """Output of the warm server goes to the log."""
        self._log = log
        # A socket's path holds 107 characters at most, which a state folder may exceed.
        self._folder = tempfile.TemporaryDirectory(prefix="orrery-")
        self._socket = Path(self._folder.name, "warm.sock")
        # Nobody writes: the writing end is closed when this process ends.
        self._lives_with, self._writing_end = os.pipe()
        self._warm: subprocess.Popen | None = None
        self._is_loaded = False
        self._started, self._due, self._pause_s = 0.0, 0.0, 0.0

    @property
    def is_loading(self) -> bool:
        """Whether a process that is started a moment later is forked."""
        return (
            self._warm is not None
            and not self._is_loaded
            and time.monotonic() - self._started < LOADS_WITHIN_S
        )

    def look(self) -> None:
        """Keep the warm server running."""
        now = time.monotonic()
        if self._warm is not None and self._warm.poll() is not None:
            self._lose(now)
        if self._warm is None and now >= self._due:
            self._start_warm(now)
        if not self._is_loaded and self._warm is not None:
            self._is_loaded = is_serving(self._socket)
            if not self._is_loaded and now - self._started > LOADS_WITHIN_S:
                self._lose(now)

    def _start_warm(self, now: float) -> None:
        self._started = now
        # Of one that was killed; it would be taken for that of the new one.
        self._socket.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._warm = subprocess.Popen(
                [sys.executable, "-m", "engine.warm.server", str(self._socket), *LOADED],
                env={**ENV_VARS, **os.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def _lose(self, now: float) -> None:
        """Be without the warm server, whose children live on."""
        assert self._warm
        self._warm.kill()
        self._warm.wait()
        self._warm, self._is_loaded = None, False
        is_settled = now - self._started > SETTLED_S
        self._pause_s = 0.0 if is_settled else min(LONGEST_PAUSE_S, 2 * self._pause_s + 1)
        self._due = now + self._pause_s

    def start(self, program: Path, argument: str, env: Mapping[str, str], log: int) -> Process:
        """`python PROGRAM ARGUMENT` with these environment variables, and its output to the
        descriptor. Raises OSError."""
        if self._is_loaded:
            try:
                return fork(
                    self._socket,
                    str(program),
                    [str(program), argument],
                    {**ENV_VARS, **env},
                    log,
                    lives_with=self._lives_with,
                    within_s=FORK_WITHIN_S,
                )
            except WarmUnavailable:
                # It has ended, or it hangs.
                self._lose(time.monotonic())
        return self.start_cold(program, argument, env, log)

    def start_cold(self, program: Path, argument: str, env: Mapping[str, str], log: int) -> Process:
        """The same without the warm server. Raises OSError."""
        return subprocess.Popen(
            [sys.executable, str(program), argument],
            env={**ENV_VARS, **env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    def stop(self) -> None:
        """End the warm server, and with it every process that is left."""
        os.close(self._writing_end)
        if self._warm is not None:
            self._warm.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._warm.wait(FORK_WITHIN_S)
            self._warm.kill()
            self._warm.wait()
        os.close(self._lives_with)
        self._folder.cleanup()
