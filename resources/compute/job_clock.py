"""The time limits of a job: one state machine for every runtime, advanced by each look."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from resources.compute.contract import JobRefused


@dataclass(frozen=True)
class Limits:
    """Seconds after which a job is refused for good."""

    timeout_s: float
    """Running, over all attempts that one driver follows."""
    stall_s: float
    """Running without a report."""
    stuck_s: float = inf
    """Kept from running by something that does not pass by itself."""


class JobClock:
    """How long a job has run, been silent, and been unable to start, as of the last look.

    How long a look took, or this machine slept after one, counts for nobody: what was reported
    meanwhile is not known before the next look.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        """`now` is in seconds of a clock that never goes back."""
        self._limits = limits
        self.ran_s = 0.0
        self._looked = self._heard = self._moved = now

    def look(
        self, now: float, *, has_reported: bool, is_running: bool = True, is_stuck: bool = False
    ) -> None:
        """Take in what was seen at `now`."""
        if is_running:
            self.ran_s += now - self._looked
        if has_reported or not is_running:
            self._heard = now
        if not is_stuck:
            self._moved = now
        self._looked = now

    def require_time(self, cannot_start: str, log_tail: Callable[[], str]) -> None:
        """Raises JobRefused once a limit is passed; `cannot_start` says what keeps the job."""
        limits = self._limits
        if self._looked - self._moved > limits.stuck_s:
            raise JobRefused(f"the job cannot start: {cannot_start}")
        if self.ran_s > limits.timeout_s:
            raise JobRefused(
                f"the job ran longer than {limits.timeout_s:.0f} s and was stopped", "too_long"
            )
        if self._looked - self._heard > limits.stall_s:
            printed = log_tail()
            raise JobRefused(
                f"the job reported nothing for {limits.stall_s:.0f} s and was stopped as hung; "
                "raise `stall_timeout_s` in its declaration if its work needs longer pauses "
                f"between two reports\n{printed}",
                "hang",
                printed,
            )
