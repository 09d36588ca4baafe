"""How fast one caller may ask: a token bucket each (Turner, 1986).

Counted in this process: with several gateways, each grants the whole limit.
"""

import time

MOST_CALLERS = 50_000


class RateLimit:
    """So many requests a minute, in bursts of as many."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._per_s = per_minute / 60
        self._left: dict[str, tuple[float, float]] = {}

    def wait_s(self, who: str) -> float:
        """0 where the request is within the limit, and counted; else seconds until one is."""
        now = time.monotonic()
        left, at = self._left.get(who, (float(self.per_minute), now))
        left = min(float(self.per_minute), left + (now - at) * self._per_s)
        if left < 1:
            return (1 - left) / self._per_s
        if len(self._left) >= MOST_CALLERS:
            self._left.clear()
        self._left[who] = (left - 1, now)
        return 0.0
