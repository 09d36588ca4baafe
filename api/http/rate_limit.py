"""How many requests a caller may send in a minute, counted in memory or in Redis.

In memory, each of several gateways grants the whole limit; in Redis they grant it together.

timeout: `ANSWER_S` for an answer of Redis. retry: none; while Redis is away, and for `PAUSE_S`
    after it was, requests are counted in memory, so that its outage refuses nobody.
cancel: nothing to stop. duplicate: a request is counted once, where it was sent.
partial write: Redis counts in one script, whole or not at all.
"""

import logging
import time
from dataclasses import dataclass
from math import ceil

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

ANSWER_S = 0.25
"""More than Redis needs nearby; each request waits for it."""
PAUSE_S = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RateLimit:
    """So many requests of one kind in any 60 seconds, approximated from two windows."""

    kind: str
    per_minute: int

    @property
    def item(self) -> RateLimitItemPerMinute:
        """The limit as the library counts it."""
        return RateLimitItemPerMinute(self.per_minute, namespace=self.kind)


class RateLimiter:
    """Counts requests of callers against limits."""

    def __init__(self, storage: str = "") -> None:
        """`storage` is the `redis://` or `rediss://` URL of what several gateways share."""
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared = _shared(storage) if storage else None
        self._shared_from = 0.0

    async def wait_s(self, limit: RateLimit, caller: str) -> int:
        """0 where the request is within the limit, and counted; else seconds until one may be."""
        if self._shared is not None and time.monotonic() >= self._shared_from:
            try:
                return await _wait_s(self._shared, limit, caller)
            except StorageError as error:
                self._shared_from = time.monotonic() + PAUSE_S
                log.warning("Redis does not count requests, this process does: %s", error)
        return await _wait_s(self._own, limit, caller)


async def _wait_s(counter: SlidingWindowCounterRateLimiter, limit: RateLimit, caller: str) -> int:
    if await counter.hit(limit.item, caller):
        return 0
    stats = await counter.get_window_stats(limit.item, caller)
    return max(1, ceil(stats.reset_time - time.time()))


def _shared(url: str) -> SlidingWindowCounterRateLimiter:
    # The library loads a client of Redis, which only a gateway with one needs.
    from limits.aio.storage import RedisStorage

    storage = RedisStorage(
        f"async+{url}",
        # The client's own errors become StorageError, which `wait_s` catches.
        wrap_exceptions=True,
        # The library's default is coredis, which is not installed.
        implementation="redispy",
        key_prefix="orrery",
        socket_timeout=ANSWER_S,
        socket_connect_timeout=ANSWER_S,
    )
    return SlidingWindowCounterRateLimiter(storage)
