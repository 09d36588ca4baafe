"""A look at many things in turns, so that slow ones hold up no tick for long."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def look_around(things: Sequence[T], begin: int, look: Callable[[T], None], within_s: float) -> int:
    """Look at the things in a circle, from the place `begin` on: at least at one, and at no more
    once the time is over. Gives the place at which the next look begins."""
    deadline = time.monotonic() + within_s
    for count in range(len(things)):
        if count and time.monotonic() > deadline:
            return (begin + count) % len(things)
        look(things[(begin + count) % len(things)])
    return begin % len(things)
