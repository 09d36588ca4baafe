"""The adapter to the warm server, a process with the heavy modules loaded that forks on request.

timeout: a request is answered within 5 s; a child runs as long as it wants.
retry: none; a client that cannot connect starts a cold process instead.
cancel: a child leads its own process group, which its client may signal by pid.
duplicate: every request is a new child; identity is the client's business.
partial write: a request that is cut short starts nothing.
"""

import array
import json
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

HEAD = struct.Struct("!I")
REQUEST_TIMEOUT_S = 5.0


class WarmUnavailable(Exception):
    """No warm server answers; start a cold process."""


class WarmChild:
    """A process that the warm server forked for this client."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._connection = connection
        self._answer = b""
        self._exit: int | None = None
        connection.setblocking(False)

    def poll(self) -> int | None:
        """Exit code, or None while the child runs; -1 when the server died before it."""
        while self._exit is None:
            try:
                part = self._connection.recv(4096)
            except BlockingIOError:
                return None
            except OSError:
                part = b""
            self._answer += part
            if not part:
                # The server has ended, and its child may still run.
                if Path(f"/proc/{self.pid}").exists():
                    return None
                self._exit = -1
            elif self._answer.endswith(b"\n"):
                self._exit = json.loads(self._answer)["exit"]
        self._connection.close()
        return self._exit

    def forget(self) -> None:
        """Let the child run without anybody waiting for its exit code."""
        self._connection.close()


def fork(path: Path, module: str, argv: Sequence[str], env: dict[str, str], log: int) -> WarmChild:
    """A child that runs `module` with output to the descriptor `log`.

    Raises WarmUnavailable when no server answers on the socket.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(REQUEST_TIMEOUT_S)
        connection.connect(str(path))
        request = {"module": module, "argv": list(argv), "cwd": os.getcwd(), "env": env}
        body = json.dumps(request).encode()
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [log]))
        connection.sendmsg([HEAD.pack(len(body))], [rights])
        connection.sendall(body)
        line = b""
        while not line.endswith(b"\n"):
            # Byte by byte, because what follows the line is the exit code, which `poll` reads.
            part = connection.recv(1)
            if not part:
                raise ConnectionError("the warm server closed the connection")
            line += part
        return WarmChild(json.loads(line)["pid"], connection)
    except OSError as error:
        connection.close()
        raise WarmUnavailable(str(error)) from error


def is_serving(path: Path) -> bool:
    """Whether a warm server listens on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
