"""The adapter to the warm server, a process with the heavy modules loaded that forks on request.

timeout: a request is answered within 5 s, or as its client says; a child runs as long as it
    wants.
retry: none; a client that cannot connect starts a cold process instead.
cancel: a child leads its own process group, which its client may signal by pid. Where the client
    hands over the end of a pipe, the child ends with it.
duplicate: every request is a new child; identity is the client's business.
partial write: a request that is cut short starts nothing.
"""

import contextlib
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path

HEAD = struct.Struct("!I")
REQUEST_TIMEOUT_S = 5.0


class WarmUnavailable(Exception):
    """No warm server answers; start a cold process."""


class WarmChild:
    """A process that the warm server forked for this client."""

    def __init__(self, pid: int, connection: socket.socket, told_within_s: float) -> None:
        """The server tells its exit code within so many seconds, if it ever does."""
        self.pid = pid
        self._connection, self._told_within_s = connection, told_within_s
        self._ended_at: float | None = None
        self._answer = b""
        self._exit: int | None = None
        # It never means a later process with the same id, and tells of a child whose server died.
        self._process = _opened(pid)
        connection.setblocking(False)

    def poll(self) -> int | None:
        """Exit code, or None while the child runs; -1 when the server died before it, or hangs."""
        while self._exit is None:
            try:
                part = self._connection.recv(4096)
            except BlockingIOError:
                if not self._is_overdue():
                    return None
                part = b""
            except OSError:
                part = b""
            self._answer += part
            if self._answer.endswith(b"\n"):
                self._exit = json.loads(self._answer)["exit"]
            elif not part:
                # The server has ended, and its child may still run.
                if not self._has_ended():
                    return None
                self._exit = -1
        self.forget()
        return self._exit

    def _has_ended(self) -> bool:
        return self._process is None or bool(select.select([self._process], [], [], 0)[0])

    def _is_overdue(self) -> bool:
        """Whether the child ended long ago, and its server says nothing."""
        if self._ended_at is None:
            self._ended_at = time.monotonic() if self._has_ended() else None
        at = self._ended_at
        return at is not None and time.monotonic() - at > self._told_within_s

    def send_signal(self, number: int) -> None:
        """Signal the child alone; one that has ended gets nothing."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, number)

    def forget(self) -> None:
        """Let the child run without anybody waiting for its exit code."""
        self._connection.close()
        if self._process is not None:
            os.close(self._process)
            self._process = None


def fork(
    path: Path,
    program: str,
    argv: Sequence[str],
    env: dict[str, str],
    log: int,
    *,
    lives_with: int | None = None,
    within_s: float = REQUEST_TIMEOUT_S,
) -> WarmChild:
    """A child that runs `program`, a module or the path of a file, with output to the descriptor
    `log`.

    It gets SIGTERM when nobody holds the writing end any more of the pipe whose reading end is
    `lives_with`. Raises WarmUnavailable when no server answers on the socket in time.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(within_s)
        connection.connect(str(path))
        request = {"program": program, "argv": list(argv), "cwd": os.getcwd(), "env": env}
        body = json.dumps(request).encode()
        handed = [log] if lives_with is None else [log, lives_with]
        socket.send_fds(connection, [HEAD.pack(len(body))], handed)
        connection.sendall(body)
        line = b""
        while not line.endswith(b"\n"):
            # Byte by byte, because what follows the line is the exit code, which `poll` reads.
            part = connection.recv(1)
            if not part:
                raise ConnectionError("the warm server closed the connection")
            line += part
        return WarmChild(json.loads(line)["pid"], connection, within_s)
    except OSError as error:
        connection.close()
        raise WarmUnavailable(str(error)) from error


def is_serving(path: Path) -> bool:
    """Whether a server, warm or another, listens on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _opened(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
