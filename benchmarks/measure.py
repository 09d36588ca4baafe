"""Repeated measurements, taken in turns so that the machine's moods meet everyone alike."""

import math
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

console = Console()


def in_turns(contenders: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Values of every contender, measured round-robin."""
    durations: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, measure in contenders.items():
            durations[name].append(measure())
    return durations


def show(title: str, unit: str, values: dict[str, list[float]], base: str, aim: str) -> None:
    """Print medians and their ratios to the base."""
    table = Table("", f"median {unit}", "all", f"ratio to {base}", title=f"{title} (aim: {aim})")
    reference = statistics.median(values[base])
    for name, durations in values.items():
        median = statistics.median(durations)
        every = " ".join(f"{value:.4g}" for value in durations)
        table.add_row(name, f"{median:.4g}", every, f"{median / reference:.3f}")
    console.print(table)


def peak_mib() -> float:
    """Most memory of this process so far, in MiB."""
    # Not getrusage, which counts what the process was forked from.
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in status if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024


def exponent(costs: Sequence[float], factor: float = 10.0) -> float:
    """Exponent of growth in the last step, over which the work grew so many times; 0 is flat, and 1
    grows with the work."""
    return math.log(max(costs[-1], 1e-9) / max(costs[-2], 1e-9), factor)


@contextmanager
def temporary_state() -> Iterator[Path]:
    """A state folder of its own, used by everything that runs inside."""
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as folder:
        before = os.environ.get("ORRERY_STATE")
        os.environ["ORRERY_STATE"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["ORRERY_STATE"]
            else:
                os.environ["ORRERY_STATE"] = before
