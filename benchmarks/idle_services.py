"""Processes and memory of services that nobody asks: 1, 5 and 10 of the same small network.

A page that several processes share counts for each of them by its part (PSS).
"""

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

import psutil
from rich.table import Table

from benchmarks.measure import console
from benchmarks.service import ask, exported, packaged, reconciling
from training.export import export

COUNTS = (1, 5, 10)
MIB = 1 << 20


class Idle(NamedTuple):
    """What so many idle services take, without the reconciler and the router."""

    services: int
    processes: int
    pss_mib: float
    """Of all their processes."""
    largest_pss_mib: float
    largest_rss_mib: float


def main() -> None:
    """Print processes and memory by the number of services."""
    table = Table(
        "services",
        "processes",
        "PSS, MiB",
        "PSS of the largest, MiB (aim: <= 60)",
        "RSS of the largest, MiB",
        title="Idle services",
    )
    for idle in measure():
        sizes = (idle.pss_mib, idle.largest_pss_mib, idle.largest_rss_mib)
        table.add_row(str(idle.services), str(idle.processes), *(f"{size:.0f}" for size in sizes))
    console.print(table)


def measure() -> list[Idle]:
    """What idle services take, by their number."""
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        folder, artefact = Path(name), Path(name, "artefact")
        digest = export(exported(folder).parent, artefact, None)
        deployment = packaged(folder, artefact, digest)
        body = {"inputs": json.loads((artefact / "input_example.json").read_bytes())}
        found = []
        for count in COUNTS:
            services = folder / f"{count}-services"
            names = [f"bench.reader-{number}" for number in range(count)]
            for service in names:
                ask(services, deployment.model_copy(update={"service": service}))
            with reconciling(services, names, body) as (_, reconciler):
                found.append(_idle(count, reconciler))
        return found


def _idle(services: int, reconciler: int) -> Idle:
    below = psutil.Process(reconciler).children(recursive=True)
    used = [each.memory_full_info() for each in below if each.name() != "haproxy"]
    return Idle(
        services=services,
        processes=len(used),
        pss_mib=sum(each.pss for each in used) / MIB,
        largest_pss_mib=max(each.pss for each in used) / MIB,
        largest_rss_mib=max(each.rss for each in used) / MIB,
    )
