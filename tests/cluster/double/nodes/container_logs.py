"""What containers wrote, line by line, with the time of each line."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime


def _stamp(moment_ns: int) -> str:
    seconds, nanoseconds = divmod(moment_ns, 1_000_000_000)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{nanoseconds:09d}Z"


class ContainerLog:
    """Lines of one run of a container; readers can follow it."""

    def __init__(self):
        self._lines: list[tuple[int, bytes]] = []
        self._open_line = b""
        self._changed = threading.Condition()
        self.closed = False

    def write(self, data: bytes) -> None:
        """Appends output, which may end within a line."""
        with self._changed:
            *whole, self._open_line = (self._open_line + data).split(b"\n")
            for line in whole:
                moment = max(time.time_ns(), self._lines[-1][0] + 1 if self._lines else 0)
                self._lines.append((moment, line + b"\n"))
            self._changed.notify_all()

    def close(self) -> None:
        """Ends the log; an unfinished line becomes its last."""
        with self._changed:
            if self._open_line:
                self._lines.append((time.time_ns(), self._open_line))
                self._open_line = b""
            self.closed = True
            self._changed.notify_all()

    def wake(self) -> None:
        """Makes followers look whether their connection still stands."""
        with self._changed:
            self._changed.notify_all()

    def read(
        self,
        follow: bool = False,
        timestamps: bool = False,
        since: float | None = None,
        tail: int | None = None,
        standing: threading.Event | None = None,
    ) -> Iterator[bytes]:
        """The lines asked for; following ends with the container or once `standing` is set."""
        with self._changed:
            start = 0 if tail is None else max(len(self._lines) - tail, 0)
        while True:
            with self._changed:
                while follow and start >= len(self._lines) and not self.closed:
                    if standing and standing.is_set():
                        return
                    self._changed.wait()
                lines, ended = self._lines[start:], self.closed
            if standing and standing.is_set():
                return
            start += len(lines)
            shown = [
                (_stamp(moment).encode() + b" " if timestamps else b"") + line
                for moment, line in lines
                if since is None or moment >= since * 1e9
            ]
            if shown:
                yield b"".join(shown)
            if not follow or (ended and not lines):
                return
