"""A proxy before a real server, that answers with errors, slowly, or not at all for a while."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

HOP = {"connection", "transfer-encoding", "content-encoding", "content-length", "keep-alive"}


class FaultyProxy:
    """Forwards to the target; `fail` and `delay` apply to the requests that come next."""

    def __init__(self, target: str) -> None:
        self.requests: list[tuple[str, str]] = []
        self._failing: list[int] = []
        self._losing: list[int] = []
        self._delays: list[float] = []
        proxy, client = self, httpx.Client(base_url=target, timeout=30)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                proxy.requests.append((self.command, self.path))
                if proxy._delays:
                    time.sleep(proxy._delays.pop(0))
                if proxy._failing:
                    self.answer(proxy._failing.pop(0), {}, b"<Error><Code>SlowDown</Code></Error>")
                    return
                headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
                result = client.request(self.command, self.path, content=body, headers=headers)
                if proxy._losing:
                    self.answer(proxy._losing.pop(), {}, b"<Error><Code>SlowDown</Code></Error>")
                    return
                self.answer(result.status_code, dict(result.headers), result.content)

            def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in HOP:
                        self.send_header(name, value)
                length = headers.get("content-length") if self.command == "HEAD" else len(body)
                self.send_header("Content-Length", str(length or 0))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def fail(self, status: int, times: int) -> None:
        self._failing += [status] * times

    def lose_answers(self, times: int) -> None:
        """Do what is asked for, and answer 503 all the same."""
        self._losing += [503] * times

    def delay(self, seconds: float, times: int) -> None:
        self._delays += [seconds] * times

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
