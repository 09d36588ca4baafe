"""Faults a test injects into the API server, and what it saw."""

import re
import threading
import time
from dataclasses import dataclass, field

from tests.cluster.double.api.errors import ApiError

_MESSAGES = {
    409: "the object has been modified; please apply your changes to the latest version",
    429: "too many requests, please try again later",
    500: "etcdserver: request timed out",
    503: "the server is currently unable to handle the request",
}


@dataclass
class _Failure:
    code: int
    times: int
    method: str | None
    path: str
    retry_after: int | None


@dataclass
class Faults:
    """Failures, delays, and refusals that apply to HTTP requests."""

    requests: list[tuple[str, str, int]] = field(default_factory=list)
    _failures: list[_Failure] = field(default_factory=list)
    _delays: list[tuple[float, str]] = field(default_factory=list)
    _denied: set[tuple[str, str, str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_hanging: bool = False
    _is_there: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._is_there.set()

    def leave(self, *, hanging: bool) -> None:
        """Answers nothing at all until `heal`: every connection is cut, or left open in silence."""
        self._is_hanging = hanging
        self._is_there.clear()

    def require_presence(self) -> None:
        """Returns when the server is there. Raises ConnectionError while it cuts connections."""
        if not self._is_there.is_set() and not self._is_hanging:
            raise ConnectionAbortedError("the server is away")
        self._is_there.wait()

    def fail(
        self,
        status: int,
        times: int = 1,
        method: str | None = None,
        path: str = "",
        retry_after: int | None = None,
    ) -> None:
        """Answers the next requests whose method and path match with this status."""
        with self._lock:
            self._failures.append(_Failure(status, times, method, path, retry_after))

    def delay(self, seconds: float, path: str = "") -> None:
        """Answers matching requests later, until `heal`."""
        with self._lock:
            self._delays.append((seconds, path))

    def deny(self, verb: str, resource: str, user: str = "") -> None:
        """Refuses a verb (`*` for all) on a resource, in reviews and in requests; of one user, or
        of all."""
        with self._lock:
            self._denied.add((verb, resource, user))

    def heal(self) -> None:
        """Takes back every failure, delay, and refusal, and lets the server be there."""
        self._is_there.set()
        with self._lock:
            self._failures.clear()
            self._delays.clear()
            self._denied.clear()

    def allowed(self, verb: str, resource: str, user: str) -> bool:
        """Whether no test has denied the user the verb on the resource."""
        refusals = {(v, resource, u) for v in (verb, "*") for u in (user, "")}
        with self._lock:
            return not self._denied & refusals

    def apply(self, method: str, path: str) -> None:
        """Delays or fails the request as a test asked."""
        with self._lock:
            waits = [seconds for seconds, pattern in self._delays if re.search(pattern, path)]
        if waits:
            time.sleep(sum(waits))
        with self._lock:
            for failure in self._failures:
                if failure.method in (None, method) and re.search(failure.path, path):
                    failure.times -= 1
                    if failure.times <= 0:
                        self._failures.remove(failure)
                    message = _MESSAGES.get(failure.code, "injected failure")
                    raise ApiError(failure.code, message, retry_after=failure.retry_after)

    def record(self, method: str, path: str, status: int) -> None:
        """Remembers an answered request."""
        with self._lock:
            self.requests.append((method, path, status))
