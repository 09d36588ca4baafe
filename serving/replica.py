"""One replica: the answering process of a Bento, from its start to its last request."""

import http.client
import json
import os
import signal
import socket
import time
from pathlib import Path

from engine.warm.client import is_serving
from serving.contract import Deployment, ReplicaStatus
from serving.processes import Process, Processes

READY_WITHIN_S = 60.0
STOP_WITHIN_S = 20.0
# Short, because the reconciler has one thread: a replica that hangs delays all services.
PROBE_TIMEOUT_S = 0.5
PROGRAM, EARLIER_PROGRAM = "serve.py", "keeper.py"
"""What answers in a Bento, and in one that was packaged before there was the first."""


class Replica:
    """A process that serves one version on a port of its own."""

    def __init__(
        self,
        deployment: Deployment,
        slot: int,
        socket_path: Path,
        logs: Path,
        processes: Processes,
        restarts: int = 0,
    ) -> None:
        self.deployment, self.slot, self.restarts = deployment, slot, restarts
        self.port, wanted_grpc_port = _free_port(), _free_port()
        self._socket = socket_path
        self.has_socket = False
        """Whether it answers at its socket too, as is known once it is ready."""
        # A replica before in this slot may still answer there.
        socket_path.unlink(missing_ok=True)
        self.grpc_port: int | None = None
        """Known once it is ready; None where the Bento answers no gRPC."""
        self.is_ready = False
        self._started = time.monotonic()
        self._stopping_since: float | None = None
        logs.mkdir(parents=True, exist_ok=True)
        variables = _env_vars(deployment, wanted_grpc_port, slot)
        variables |= {"PREDICT_SOCKET": str(socket_path)}
        with (logs / f"{deployment.version}-s{slot}.log").open("ab") as log:
            self.process = _start(
                processes,
                deployment.bento / "src",
                str(self.port),
                {**os.environ, **variables},
                log.fileno(),
            )

    @property
    def age_s(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._started

    @property
    def is_dead(self) -> bool:
        """Whether the process has ended, or never became ready in time."""
        if self.process.poll() is not None:
            return True
        return not self.is_ready and self.age_s > READY_WITHIN_S

    def probe(self) -> None:
        """Become ready once the port answers as this very version."""
        if self.is_ready:
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PROBE_TIMEOUT_S)
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            identity = json.loads(answer.read())
            self.is_ready = answer.status == http.HTTPStatus.OK and (
                (identity.get("version"), identity.get("artefact_digest"))
                == (self.deployment.version, self.deployment.artefact_digest)
            )
            self.grpc_port = identity.get("grpc_port") if self.is_ready else None
            self.has_socket = self.is_ready and is_serving(self._socket)
        except (OSError, ValueError, http.client.HTTPException):
            pass
        finally:
            connection.close()

    def stop(self) -> None:
        """Ask the process to end; `has_ended` tells when it has."""
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
            self.process.send_signal(signal.SIGTERM)

    @property
    def has_ended(self) -> bool:
        """Whether a stopped process is gone; one that does not obey is killed."""
        if self.process.poll() is not None:
            return True
        waited = time.monotonic() - (self._stopping_since or time.monotonic())
        if waited > STOP_WITHIN_S:
            self.process.send_signal(signal.SIGKILL)
        return False

    def status(self) -> ReplicaStatus:
        """What is known of the process."""
        stopping = self._stopping_since is not None
        state = "stopping" if stopping else "ready" if self.is_ready else "starting"
        return ReplicaStatus(
            version=self.deployment.version,
            pid=self.process.pid,
            port=self.port,
            state=state,
            restarts=self.restarts,
        )


def _start(
    processes: Processes, sources: Path, port: str, env: dict[str, str], log: int
) -> Process:
    earlier = sources / EARLIER_PROGRAM
    if not (sources / PROGRAM).exists() and earlier.exists():
        # It ends when its parent does, which may not be the warm server.
        return processes.start_cold(earlier, port, env, log)
    return processes.start(sources / PROGRAM, port, env, log)


def _free_port() -> int:
    # Another process may take the port before the replica does; `probe` checks who answers, and a
    # replica that cannot listen for gRPC does not become ready.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _env_vars(deployment: Deployment, grpc_port: int, slot: int) -> dict[str, str]:
    variables = {"PREDICT_GRPC_PORT": str(grpc_port)}
    if plan := deployment.request_log:
        variables |= {
            "REQUEST_LOG_FOLDER": str(plan.folder),
            "REQUEST_LOG_NAME": f"s{slot}",
            "REQUEST_LOG_SAMPLE": str(plan.sample),
            "REQUEST_LOG_MEGABYTES": str(plan.megabytes),
        }
    return variables
