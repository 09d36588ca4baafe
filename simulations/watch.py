"""A watch over code that may never come back, such as an environment of a project's own."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar

from engine.protocol import Refused

T = TypeVar("T")


class Watch:
    """Calls functions in a thread of its own, and gives up on one that stands still too long.

    The thread of a call that stood still goes on; it ends with the process at the latest.
    """

    def __init__(self, what: str, longest_s: float) -> None:
        """`what` names the code in errors; `longest_s` may lie between two calls of `at`."""
        self._what, self._longest_s = what, longest_s
        self._asked: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._place: tuple[Callable[[], str], float] = (str, 0.0)
        threading.Thread(target=self._serve, name="environment", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.put(None)

    def at(self, place: Callable[[], str]) -> None:
        """Hear in the watched thread what begins now; `place` names it in an error."""
        self._place = (place, time.monotonic())

    def call(self, function: Callable[[], T], place: str = "") -> T:
        """What the function returns, or raises. Raises Refused where it stands still."""
        self.at(lambda: place)
        self._asked.put(function)
        while True:
            named, began = self._place
            try:
                left_s = began + self._longest_s - time.monotonic()
                answer, error = self._answers.get(timeout=max(0.01, left_s))
            except queue.Empty:
                # A step that began meanwhile has its own time.
                if self._place[1] == began:
                    raise self._stood_still(named()) from None
                continue
            if error is not None:
                raise error
            return answer

    def _stood_still(self, place: str) -> Refused:
        return Refused(
            f"{self._what} did not come back within {self._longest_s:g} s from {place}, expected "
            "an answer to each call: end the loop or the wait in its code, or raise "
            "`step_timeout_s` of the suite"
        )

    def _serve(self) -> None:
        while (function := self._asked.get()) is not None:
            try:
                self._answers.put((function(), None))
            except BaseException as error:
                self._answers.put((None, error))
