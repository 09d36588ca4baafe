"""A gateway that carries traffic: HTTPRoutes and Services of the test's cluster, over HTTP."""

import http.client
import random
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from threading import Lock, Thread
from typing import Any, Self

from tests.cluster.double.api.client import has_condition
from tests.cluster.fixtures import TestCluster

_HOP_HEADERS = {"connection", "host", "keep-alive", "transfer-encoding"}


class Refused(Exception):
    """The gateway answers by itself."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class GatewayProxy:
    """Forwards every request to a ready pod behind the route that its path names."""

    name = "infra/public"

    def __init__(self, cluster: TestCluster, seed: int = 7) -> None:
        self._cluster, self._random, self._lock = cluster, random.Random(seed), Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="gateway")
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def lead(self, path: str) -> tuple[str, int, str]:
        """Address and port of a pod, and the path it is asked for. Raises Refused."""
        with self._cluster.api.store.lock:
            rule, prefix, namespace = self._rule(path)
            backend = self._drawn(rule["backendRefs"])
            host, port = self._pod(backend, namespace)
        rest = path.removeprefix(prefix).lstrip("/")
        for each in rule.get("filters") or ():
            rewritten = each["urlRewrite"]["path"]["replacePrefixMatch"]
            return host, port, f"{rewritten.rstrip('/')}/{rest}"
        return host, port, path

    def _rule(self, path: str) -> tuple[dict[str, Any], str, str]:
        results = [
            (match["path"]["value"], rule, route["metadata"]["namespace"])
            for route in self._cluster.api.list("HTTPRoute", "*")
            for rule in route["spec"]["rules"]
            for match in rule["matches"]
            if f"{path.partition('?')[0]}/".startswith(f"{match['path']['value']}/")
        ]
        if not results:
            raise Refused(404, f"no route for {path}")
        prefix, rule, namespace = max(results, key=lambda each: len(each[0]))
        return rule, prefix, namespace

    def _drawn(self, backends: list[dict[str, Any]]) -> dict[str, Any]:
        weights = [backend.get("weight", 1) for backend in backends]
        if not sum(weights):
            raise Refused(500, "no backend has a weight")
        with self._lock:
            return self._random.choices(backends, weights)[0]

    def _pod(self, backend: dict[str, Any], namespace: str) -> tuple[str, int]:
        api = self._cluster.api
        if (service := api.find("Service", backend["name"], namespace)) is None:
            raise Refused(500, f"there is no Service {backend['name']}")
        return self.pod_of(service, backend["port"])

    def pod_of(self, service: dict[str, Any], port: int) -> tuple[str, int]:
        """Address and port of a ready pod of the Service. Raises Refused."""
        namespace = service["metadata"]["namespace"]
        selector = ",".join(f"{k}={v}" for k, v in service["spec"]["selector"].items())
        ready = [
            pod
            for pod in self._cluster.api.list("Pod", namespace, labels=selector)
            if has_condition(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]
        ]
        if not ready:
            raise Refused(503, f"no pod of {service['metadata']['name']} is ready")
        with self._lock:
            pod = self._random.choice(ready)
        (target,) = [p["targetPort"] for p in service["spec"]["ports"] if p["port"] == port]
        named = [p for c in pod["spec"]["containers"] for p in c.get("ports") or ()]
        (number,) = [p["containerPort"] for p in named if target in (p["name"], p["containerPort"])]
        return pod["status"]["podIP"], number


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: GatewayProxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_HEADERS}
        try:
            host, port, path = self.server.proxy.lead(self.path)
            connection = http.client.HTTPConnection(host, port, timeout=10)
            connection.request(self.command, path, body, headers)
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
            connection.close()
        except Refused as error:
            status, content = error.status, str(error).encode()
        except (OSError, http.client.HTTPException) as error:
            status, content = 502, str(error).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        return

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    do_GET = do_POST = _forward
