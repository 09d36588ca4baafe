"""Waiting for what is true soon, without guessing how long it takes."""

import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[[], Any], within_s: float = 120) -> Any:
    """The condition's first true value."""
    end = time.monotonic() + within_s
    while not (result := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return result
