"""Where a process of a job stands that has reported nothing for long: the stacks of its threads are
printed before its driver stops it as hung."""

import faulthandler

BEFORE = 0.9
"""Share of the time after which the driver stops it."""
_after_s: float | None = None


def watch(stall_s: float) -> None:
    """Print the stacks of this process when it has said nothing for nearly so long."""
    global _after_s  # noqa: PLW0603 - faulthandler keeps one clock a process as well
    _after_s = BEFORE * stall_s
    heard()


def heard() -> None:
    """The process has reported: the time begins anew."""
    if _after_s is not None:
        faulthandler.dump_traceback_later(_after_s)
