"""Predictions by column name against those by position, at the router.

Boosted trees of numbers and a category answer the same rows over 16 requests at once.
"""

import asyncio
import json
from typing import Any

from benchmarks.inference import ROWS, Way, by_rest
from benchmarks.measure import in_turns, show, temporary_state
from benchmarks.service import REPEATS, answering
from benchmarks.tabular import made_dataset, trained_on
from engine.rows import read_rows


def main() -> None:
    """Print requests per second and the 99th percentile of the latency."""
    with temporary_state() as state:
        dataset = made_dataset(state)
        trained = trained_on(state, dataset)
        assert trained.artefact and trained.artefact_digest
        names = [column.name for column in dataset.columns]
        given = read_rows(dataset.test, names).slice(0, max(ROWS)).to_pylist()
        services = state / "services"
        with answering(state, trained.artefact, trained.artefact_digest, services) as url:
            for rows in ROWS:
                _measure(url, given[:rows])


def _measure(url: str, given: list[dict[str, Any]]) -> None:
    by_name = json.dumps({"rows": given}).encode()
    by_position = json.dumps({"inputs": [list(row.values()) for row in given]}).encode()
    ways: dict[str, Way] = {
        "by position": lambda: by_rest(url, by_position),
        "by name": lambda: by_rest(url, by_name),
    }
    tails: dict[str, list[float]] = {name: [] for name in ways}

    def ask(name: str) -> float:
        rate, tail = asyncio.run(ways[name]())
        tails[name].append(tail)
        return rate

    rates = in_turns({name: lambda name=name: ask(name) for name in ways}, REPEATS)
    show(f"Throughput, rows: {len(given)}", "requests/s", rates, "by position", ">= 0.8")
    show(f"99th percentile, rows: {len(given)}", "ms", tails, "by position", "<= 1.25")
