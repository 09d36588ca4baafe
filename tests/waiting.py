"""Waiting for what is true soon, without guessing how long it takes."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 480.0
"""More than anything takes on a busy machine that is four times slower than ours."""
LONGEST_PAUSE_S = 0.2


def until(condition: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
    """The condition's first true value; it is tried more and more seldom, since it costs time."""
    end, pause_s = time.monotonic() + within_s, 0.01
    while not (result := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.3, LONGEST_PAUSE_S)
    return result
