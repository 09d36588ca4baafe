"""The Open Inference Protocol at the router: gRPC and REST against `/predict`.

The same small network answers the same rows over 16 requests at once, from one process that asks
all of them alike: requests are made once, and answers are not read beyond their status.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from api.predictions.router_client import Reply, RouterClient
from api.processes.plan import free_port
from benchmarks.measure import in_turns, show
from benchmarks.service import CONNECTIONS, REPEATS, SECONDS, SERVICE, exported, orrery

METHOD = "/inference.GRPCInferenceService/ModelInfer"
ROWS = (1, 256)
"""Rows of a request: one, and as many as make 64 KiB of numbers."""
FEATURES = 64
OK = 200
Ask = Callable[[], Awaitable[None]]
Way = Callable[[], Coroutine[Any, Any, tuple[float, float]]]
messages: Any = service_pb2


def main() -> None:
    """Print requests per second and the 99th percentile of the latency."""
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        folder, port = Path(name), free_port("127.0.0.1")
        checkpoint = exported(folder).parent
        with orrery(folder, checkpoint, folder / "services", port) as url:
            for rows in ROWS:
                _measure(url, f"127.0.0.1:{port}", rows)


def _measure(url: str, address: str, rows: int) -> None:
    given = np.arange(rows * FEATURES, dtype=np.float32).reshape(rows, FEATURES) % 16
    infer = f"{url.partition(SERVICE)[0]}v2/models/{SERVICE}/infer"
    ways: dict[str, Way] = {
        "/predict": lambda: by_rest(url, json.dumps({"inputs": given.tolist()}).encode()),
        "v2 by REST": lambda: by_rest(infer, _rest_request(given)),
        "v2 by gRPC": lambda: _by_grpc(address, _grpc_request(given)),
    }
    tails: dict[str, list[float]] = {name: [] for name in ways}

    def ask(name: str) -> float:
        rate, tail = asyncio.run(ways[name]())
        tails[name].append(tail)
        return rate

    rates = in_turns({name: lambda name=name: ask(name) for name in ways}, REPEATS)
    aims = (">= 0.5", "<= 2") if rows == 1 else ("gRPC >= 2", "gRPC <= 0.5")
    show(f"Throughput, rows: {rows}", "requests/s", rates, "/predict", aims[0])
    show(f"99th percentile, rows: {rows}", "ms", tails, "/predict", aims[1])


def _rest_request(given: np.ndarray) -> bytes:
    tensor = {"name": "input", "shape": list(given.shape), "datatype": "FP32"}
    return json.dumps({"inputs": [{**tensor, "data": given.ravel().tolist()}]}).encode()


def _grpc_request(given: np.ndarray) -> bytes:
    request = messages.ModelInferRequest(model_name=SERVICE)
    request.inputs.add(name="input", datatype="FP32", shape=given.shape)
    request.raw_input_contents.append(given.tobytes())
    return request.SerializeToString()


async def by_rest(url: str, body: bytes) -> tuple[float, float]:
    """Requests per second of the body, and the 99th percentile of their latency in milliseconds."""
    client = RouterClient()

    async def ask() -> None:
        reply: Reply = await client.post(url, body)
        if reply.status != OK:
            raise RuntimeError(f"{url} answered {reply.status}: {reply.body[:500]!r}")

    try:
        return await _paced(ask)
    finally:
        client.close()


async def _by_grpc(address: str, body: bytes) -> tuple[float, float]:
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(METHOD)

        async def ask() -> None:
            await call(body)

        return await _paced(ask)


async def _paced(ask: Ask) -> tuple[float, float]:
    """Requests per second, and the 99th percentile of their latency in milliseconds."""
    await ask()
    began, latencies = time.perf_counter(), []

    async def go_on() -> None:
        while (start := time.perf_counter()) - began < SECONDS:
            await ask()
            latencies.append(time.perf_counter() - start)

    await asyncio.gather(*(go_on() for _ in range(CONNECTIONS)))
    rate = len(latencies) / (time.perf_counter() - began)
    return rate, float(np.percentile(latencies, 99)) * 1000
