"""A Kubernetes API server over HTTP, in threads of the test's own process."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.cluster.double.api import discovery
from tests.cluster.double.api.client import Client
from tests.cluster.double.api.endpoints import Endpoints
from tests.cluster.double.api.errors import ApiError
from tests.cluster.double.api.faults import Faults
from tests.cluster.double.api.registry import Registry
from tests.cluster.double.api.requests import Answer, Request, Stream
from tests.cluster.double.api.store import Store

_PLAIN = {"healthz", "readyz", "livez"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"  # pyright: ignore[reportIncompatibleVariableOverride]

    def _handle(self) -> None:
        api = self.server.api
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        api.faults.require_presence()
        try:
            api.faults.apply(self.command, self.path)
            answer = api.answer(self.command, self.path, self.headers, body)
        except ApiError as error:
            answer = error
        except Exception as error:
            answer = ApiError(500, f"{type(error).__name__}: {error}")
        api.faults.record(
            self.command, self.path, answer[0] if isinstance(answer, tuple) else _code(answer)
        )
        self._send(answer)

    def _send(self, answer: Answer | ApiError | str) -> None:
        if isinstance(answer, Stream):
            self._stream(answer)
            return
        headers = {"Content-Type": "application/json"}
        if isinstance(answer, ApiError):
            code, data = answer.code, json.dumps(answer.status()).encode()
            if answer.retry_after is not None:
                headers["Retry-After"] = str(answer.retry_after)
        elif isinstance(answer, str):
            code, data = 200, answer.encode()
            headers["Content-Type"] = "text/plain"
        else:
            code, data = answer[0], json.dumps(answer[1]).encode()
        self._head(code, {**headers, "Content-Length": str(len(data))}, data)

    def _head(self, code: int, headers: dict[str, str], data: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {code} {self.responses.get(code, ('',))[0]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + data)

    def _stream(self, stream: Stream) -> None:
        with self.server.api.streaming(stream, self.connection) as standing:
            chunked = {"Content-Type": stream.content_type, "Transfer-Encoding": "chunked"}
            self._head(200, chunked)
            for chunk in stream.chunks(standing):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            if standing.is_set():
                self.close_connection = True
            else:
                self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        return

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle


def _code(answer: Stream | ApiError | str) -> int:
    return answer.code if isinstance(answer, ApiError) else 200


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, api: "ApiServer"):
        self.api = api
        self._closing = False
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._accept, name="kube-apiserver")
        self._thread.start()

    def _accept(self) -> None:
        while not self._closing:
            # Private in the type stubs alone.
            self._handle_request_noblock()  # pyright: ignore[reportAttributeAccessIssue]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        return

    def close(self) -> None:
        self._closing = True
        _cut(self.socket)
        self._thread.join()
        with self._open_lock:
            for connection in self._open:
                _cut(connection)
        self.server_close()


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class ApiServer(Client):
    """The API server: its in-process client, its HTTP address, and its faults."""

    def __init__(self, namespace: str = "default"):
        store = Store()
        super().__init__(Registry(store), namespace)
        self.faults = Faults()
        self.fail = self.faults.fail
        self.delay = self.faults.delay
        self.deny = self.faults.deny
        self.leave = self.faults.leave
        self.heal = self.faults.heal
        self.requests = self.faults.requests
        self.compact = store.compact
        self.endpoints = Endpoints(self.registry, self.faults)
        self._streams: dict[int, tuple[Stream, socket.socket, threading.Event]] = {}
        self._streams_lock = threading.Lock()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def act_as(self, user: str, *, has_roles: bool = False) -> None:
        """Takes requests for this user's. Where it has roles, every service account may only what
        its roles allow."""
        authorizer = self.endpoints.authorizer
        authorizer.user, authorizer.has_roles = user, has_roles

    def skew(self, seconds: float) -> None:
        """Sets the server's clock off by so many seconds."""
        self.store.skew_s = seconds

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer | str:
        """The answer to one HTTP request."""
        self.endpoints.authorizer.authenticate(headers.get("Authorization") or "")
        url = urlsplit(target)
        path = [unquote(part) for part in url.path.strip("/").split("/")]
        if path[0] in _PLAIN:
            return "ok"
        if path == ["version"]:
            return 200, discovery.version_info()
        if path == ["apis"]:
            return 200, discovery.api_groups()
        if path[:2] == ["openapi", "v3"]:
            group, version = ("", "v1") if path[2:3] == ["api"] else [*path[3:5], "", ""][:2]
            whole = len(path) == 2
            return 200, discovery.openapi_index() if whole else discovery.openapi(group, version)
        if path[0] not in ("api", "apis"):
            raise ApiError(404, "the server could not find the requested resource")
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        content_type = headers.get("Content-Type") or ""
        return self.endpoints.answer(Request(method, path, query, content_type, body))

    @contextmanager
    def streaming(self, stream: Stream, connection: socket.socket) -> Iterator[threading.Event]:
        """Registers an open stream, so that it can be cut."""
        standing = threading.Event()
        with self._streams_lock:
            self._streams[id(stream)] = stream, connection, standing
        try:
            yield standing
        finally:
            with self._streams_lock:
                self._streams.pop(id(stream), None)
            stream.stop()

    def break_watches(self) -> None:
        """Cuts the connections of all watches and followed logs in mid-stream."""
        with self._streams_lock:
            streams = list(self._streams.values())
        for stream, connection, standing in streams:
            standing.set()
            _cut(connection)
            stream.stop()

    def close(self) -> None:
        """Cuts every connection and waits for the server's threads."""
        self.heal()
        self.break_watches()
        self._server.close()
