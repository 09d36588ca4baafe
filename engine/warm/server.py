"""The warm server: loads heavy modules once, and forks a child of itself per request.

`python -m engine.warm.server SOCKET MODULE...` imports the modules and then serves; a child does
the work of `python -m MODULE` or `python FILE` with its own arguments, folder, environment and
output.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.parent_death import end_when_closed
from engine.warm.client import HEAD, REQUEST_TIMEOUT_S

LARGEST_REQUEST = 1 << 20
MOST_DESCRIPTORS = 2
NOTHING_ASKED = "the client only looked whether the server is there"


class WarmServer:
    """Forks children on request; single-threaded, so that a fork copies a quiet process."""

    def __init__(self, path: Path, modules: Sequence[str]) -> None:
        self._path, self._modules = path, modules
        self._children: dict[int, socket.socket | None] = {}
        self._stopping = False
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        self._load()
        self._listen()
        print(json.dumps({"ready": os.getpid()}), flush=True)  # noqa: T201
        while not self._stopping:
            for key, _ in self._selector.select():
                key.data(key.fileobj)
            self._reap()
        self._path.unlink(missing_ok=True)

    def _load(self) -> None:
        for name in self._modules:
            try:
                importlib.import_module(name)
            except ImportError as error:
                print(f"not loaded: {name}: {error}", flush=True)  # noqa: T201
        # Collections in a child leave frozen objects alone, so their memory stays shared. Garbage
        # would be frozen as well, so it is removed first.
        gc.collect()
        gc.freeze()

    def _listen(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # In a folder for temporary files another user may have made it first.
        if self._path.parent.stat().st_uid != os.getuid():
            raise PermissionError(f"{self._path.parent} belongs to another user")
        # A server that was killed leaves its socket, and nobody can bind to it again.
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Private from its creation, because a client that connects runs code as this user.
        mask = os.umask(0o177)
        try:
            self._listener.bind(str(self._path))
        finally:
            os.umask(mask)
        self._listener.listen(64)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._woken, selectors.EVENT_READ, lambda pipe: os.read(pipe, 4096))
        # Python writes to the wake-up descriptor only for signals that have a handler.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)

    def _stop(self, *_: Any) -> None:
        self._stopping = True

    def _accept(self, _: Any) -> None:
        try:
            connection, _address = self._listener.accept()
        except BlockingIOError:
            # The client has gone since the selector reported it.
            return
        # The server has one thread, which a client that sends nothing must not hold.
        connection.settimeout(REQUEST_TIMEOUT_S)
        try:
            request, handed = _receive(connection)
        except (OSError, EOFError, ValueError) as error:
            if str(error) != NOTHING_ASKED:
                print(f"bad request: {error}", flush=True)  # noqa: T201
            connection.close()
            return
        pid = os.fork()
        if pid == 0:
            self._become(request, handed, connection)
        # Here too, so that the child leads its group before its client knows of it.
        os.setpgid(pid, pid)
        _close(handed)
        self._children[pid] = connection
        if _send(connection, {"pid": pid}):
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ, self._left)
        else:
            self._forget(connection)

    def _left(self, connection: Any) -> None:
        try:
            if connection.recv(1):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._selector.unregister(connection)
        self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        connection.close()
        for pid, held in self._children.items():
            if held is connection:
                self._children[pid] = None

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            connection = self._children.pop(pid, None)
            if connection is not None:
                self._selector.unregister(connection)
                connection.settimeout(REQUEST_TIMEOUT_S)
                _send(connection, {"exit": os.waitstatus_to_exitcode(status)})
                connection.close()

    def _become(
        self, request: dict[str, Any], handed: Sequence[int], connection: socket.socket
    ) -> None:
        """Turn this forked copy of the server into the process that was asked for."""
        code = 1
        try:
            self._selector.close()
            self._listener.close()
            connection.close()
            # A client learns from its closed connection that the server has died; no child may keep
            # it open.
            for held in self._children.values():
                if held is not None:
                    held.close()
            signal.set_wakeup_fd(-1)
            os.close(self._woken)
            os.close(self._waker)
            _run(request, *handed)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            _finish(code)


def _run(request: dict[str, Any], log: int, lives_with: int | None = None) -> None:
    os.setpgid(0, 0)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    _close([each for each in (nothing, log) if each > 2])
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", buffering=1, closefd=False)
    sys.stderr = open(2, "w", buffering=1, closefd=False)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    # The C library reads TZ of a running process only when it is told to.
    time.tzset()
    sys.argv[:] = request["argv"]
    if lives_with is not None:
        end_when_closed(lives_with)
    program = request["program"]
    # As `python -m` and `python FILE` do.
    sys.path[0] = os.path.dirname(program) if os.sep in program else request["cwd"]
    _reseed()
    _forget_own_code()
    if os.sep in program:
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def _reseed() -> None:
    """Children must not share the random state that the server happened to have."""
    import random

    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    if torch := sys.modules.get("torch"):
        torch.seed()


def _forget_own_code() -> None:
    """The platform's own modules are read afresh, so that an edit counts from the next child."""
    root = str(Path(__file__).resolve().parents[2]) + os.sep
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        is_own = file.startswith(root) and "site-packages" not in file
        if is_own and name not in ("__main__", __name__):
            del sys.modules[name]
    importlib.invalidate_caches()


def _finish(code: int) -> None:
    """End like a normal process would, but never return into the server's loop."""
    try:
        # os._exit leaves out both, and Python has no public names for them.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _send(connection: socket.socket, message: dict[str, Any]) -> bool:
    try:
        connection.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        return False
    return True


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The request, and the descriptors that come with it: of the output, and of a pipe."""
    head, handed, _, _ = socket.recv_fds(connection, HEAD.size, MOST_DESCRIPTORS)
    try:
        return _body_of(head, handed, connection), handed
    except BaseException:
        _close(handed)
        raise


def _body_of(head: bytes, handed: Sequence[int], connection: socket.socket) -> dict[str, Any]:
    if not head:
        raise EOFError(NOTHING_ASKED)
    if len(head) != HEAD.size or not handed:
        raise EOFError("expected a length, and a descriptor of the output")
    size, body = HEAD.unpack(head)[0], b""
    if size > LARGEST_REQUEST:
        raise ValueError(f"a request of {size} bytes")
    while len(body) < size:
        part = connection.recv(size - len(body))
        if not part:
            raise EOFError("the request was cut short")
        body += part
    return json.loads(body)


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


if __name__ == "__main__":
    # Under its own name, because runpy replaces __main__ in the children.
    from engine.warm.server import WarmServer as Server

    Server(Path(sys.argv[1]), sys.argv[2:]).serve()
