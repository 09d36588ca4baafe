"""Startup, liveness, and readiness probes of a container."""

import http.client
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.cluster.double.api.resource_types import Object

EAGER_S = 0.1


def _port(container: Object, port: int | str) -> int:
    for each in container.get("ports") or ():
        if each.get("name") == port:
            return each["containerPort"]
    return int(port)


class Probes(threading.Thread):
    """Probes one run of a container and tells what changes.

    A container that is not ready yet is asked more often than its period says.
    """

    def __init__(
        self,
        container: Object,
        pod_ip: str,
        execute: Callable[[list[str], float], int],
        tell: Callable[[str, bool], None],
    ):
        super().__init__(name=f"probes-{container['name']}")
        self._container = container
        self._pod_ip = pod_ip
        self._execute = execute
        self._tell = tell
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ends the probing, without waiting for a probe under way."""
        self._stopped.set()

    def _passes(self, probe: Object) -> bool:
        timeout = probe.get("timeoutSeconds") or 1
        try:
            if action := probe.get("httpGet"):
                return self._get(action, timeout)
            if action := probe.get("tcpSocket"):
                place = (action.get("host") or self._pod_ip, _port(self._container, action["port"]))
                socket.create_connection(place, timeout).close()
                return True
            if action := probe.get("exec"):
                return self._execute(action["command"], timeout) == 0
        except (OSError, http.client.HTTPException, subprocess.TimeoutExpired):
            return False
        return True

    def _get(self, action: Object, timeout: float) -> bool:
        host, port = action.get("host") or self._pod_ip, _port(self._container, action["port"])
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        headers = {each["name"]: each["value"] for each in action.get("httpHeaders") or ()}
        try:
            connection.request("GET", action.get("path") or "/", headers=headers)
            return 200 <= connection.getresponse().status < 400
        finally:
            connection.close()

    def run(self) -> None:
        if (probe := self._container.get("startupProbe")) and not self._start(probe):
            return
        self._tell("started", True)
        readiness = self._container.get("readinessProbe")
        liveness = self._container.get("livenessProbe")
        if not readiness:
            self._tell("ready", True)
        watched = [
            _Watched(kind, probe)
            for kind, probe in (("ready", readiness), ("live", liveness))
            if probe
        ]
        while watched and not self._stopped.is_set():
            now = time.monotonic()
            for each in watched:
                if each.due <= now and each.observe(self._passes(each.probe)):
                    self._tell(each.kind, bool(each.holds))
            self._stopped.wait(max(min(each.due for each in watched) - time.monotonic(), 0))

    def _start(self, probe: Object) -> bool:
        delay = probe.get("initialDelaySeconds") or 0
        patience = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
        end = time.monotonic() + delay + patience
        self._stopped.wait(delay)
        while not self._stopped.is_set():
            if self._passes(probe):
                return True
            if time.monotonic() >= end:
                self._tell("live", False)
                return False
            self._stopped.wait(EAGER_S)
        return False


class _Watched:
    def __init__(self, kind: str, probe: Object):
        self.kind = kind
        self.probe = probe
        self.holds: bool | None = kind == "live" or None
        self.due = time.monotonic() + (probe.get("initialDelaySeconds") or 0)
        self._row = 0
        self._last: Any = None

    def observe(self, passed: bool) -> bool:
        """Counts one result; whether the verdict changes."""
        self._row = self._row + 1 if passed is self._last else 1
        self._last = passed
        name, default = ("successThreshold", 1) if passed else ("failureThreshold", 3)
        changes = self._row >= self.probe.get(name, default) and passed is not self.holds
        if changes:
            self.holds = passed
        eager = self.kind == "ready" and not self.holds
        period = self.probe.get("periodSeconds") or 10
        self.due = time.monotonic() + (min(EAGER_S, period) if eager else period)
        return changes
