"""HTTP as uvicorn speaks it, with a shorter way for predictions of quick models.

Such a prediction is answered in the step in which the last of its body comes, without a task of the
event loop and the messages of ASGI, which take longer than the model. All else goes uvicorn's way,
also a prediction that turns out to need it.
"""

from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

PATH = b"/predict"


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._parts: list[bytes] | None = None
        """Body, as far as it has come, of a prediction on the shorter way."""
        self._size = 0
        self._is_last = False

    def on_headers_complete(self) -> None:
        """A request has begun."""
        if self._may_be_short():
            self._parts, self._size = [], 0
            return
        # One that came in the same packet may have been answered already.
        self._unset_keepalive_if_required()
        super().on_headers_complete()

    def _may_be_short(self) -> bool:
        return (
            self.url == PATH
            and self.app.is_quick
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and (self.cycle is None or self.cycle.response_complete)
            and not (self.expect_100_continue or self.flow.write_paused)
            and not self.parser.should_upgrade()
        )

    def on_body(self, body: bytes) -> None:
        """A part of a body has come."""
        if self._parts is None:
            super().on_body(body)
            return
        self._parts.append(body)
        self._size += len(body)
        if self._size > HIGH_WATER_LIMIT:
            self._go_the_long_way()

    def on_message_complete(self) -> None:
        """A request has come whole."""
        if self._parts is None:
            super().on_message_complete()
            return
        try:
            status, body = self.app.at_once(b"".join(self._parts))
        except Exception:
            # A fault of the code, which uvicorn writes to the log and answers with 500.
            self._go_the_long_way()
            super().on_message_complete()
            return
        self._parts = None
        self._reply(status, body)

    def _go_the_long_way(self) -> None:
        parts, self._parts = self._parts, None
        super().on_headers_complete()
        super().on_body(b"".join(parts))
        if self._is_last:
            self.cycle.keep_alive = False

    def _reply(self, status: int, body: bytes) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        lines = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            lines += name, b": ", value, b"\r\n"
        is_last = self._is_last or not self.parser.should_keep_alive()
        if is_last:
            lines.append(b"connection: close\r\n")
        lines += self.app.head, str(len(body)).encode(), b"\r\n\r\n", body
        self.transport.write(b"".join(lines))
        self._unset_keepalive_if_required()
        if is_last:
            self.transport.close()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def shutdown(self) -> None:
        """Close the connection once the request in progress is answered."""
        if self._parts is None:
            super().shutdown()
        else:
            self._is_last = True
