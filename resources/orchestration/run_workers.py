"""The workers of dagster_runs: what keeps one from starting, and those that nobody waits for."""

from collections.abc import Callable
from typing import Protocol


class RunWorkers(Protocol):
    """What the platform asks of whatever executes dagster_runs."""

    def trouble_of(self, run_id: str) -> str:
        """What keeps the worker of the dagster_run from starting, in words for a person; empty
        where nothing is known to."""
        ...

    def outage(self) -> str:
        """What keeps every worker from being started, in words for a person; empty where nothing
        does."""
        ...

    def end_abandoned(self, is_going: Callable[[str], bool]) -> list[str]:
        """Names of workers whose dagster_run is over, and that are ended now."""
        ...


class RunProcesses:
    """Processes of this machine, which start at once and end with their launcher."""

    def trouble_of(self, run_id: str) -> str:
        """Nothing."""
        return ""

    def outage(self) -> str:
        """Nothing."""
        return ""

    def end_abandoned(self, is_going: Callable[[str], bool]) -> list[str]:
        """None."""
        return []
