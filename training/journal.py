"""The journal of a job: its progress, written on the machine where the job began.

Workers may be on other machines, and rank 0 may move with every restart; an actor beside the job
writes for the worker of that rank.
"""

from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from engine.progress import history_of


class Journal:
    """A handle that travels to the workers."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def write(self, line: str) -> None:
        """Append a line of progress."""
        ray.get(self._actor.write.remote(line))

    def reports(self) -> int:
        """Number of reports that earlier attempts have made."""
        return ray.get(self._actor.reports.remote())


class _Book:
    def __init__(self, workdir: str) -> None:
        self._workdir = Path(workdir)

    def write(self, line: str) -> None:
        with (self._workdir / "progress.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)

    def reports(self) -> int:
        return len(history_of(self._workdir))


def open_here(workdir: Path) -> Journal:
    """The journal of the work directory, kept by an actor on this machine."""
    # Not `soft`: on another machine the actor could not write into the work directory.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # No CPU is reserved for the actor, because it would be missing for a worker.
    actor = ray.remote(_Book).options(num_cpus=0, scheduling_strategy=here)
    return Journal(actor.remote(str(workdir)))
