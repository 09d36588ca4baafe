"""Why a step failed, as its event tells."""

from typing import Any, NamedTuple

from engine.cause import lines_of

CAUSE, LINES = "cause", "lines"
"""Keys of the metadata of a failed step: engine.cause, and the lines that matter."""


class FailedStep(NamedTuple):
    """What the event of a failed step says."""

    message: str
    cause: str = "exception"
    """In one word (engine.cause)."""
    lines: tuple[str, ...] = ()
    """Lines of its trace or its log that matter."""


NO_STEP = FailedStep("", "")


def failed_step(event: Any) -> FailedStep:
    """What the event says."""
    data = event.step_failure_data
    metadata = data.user_failure_data.metadata if data.user_failure_data else {}
    said = {key: getattr(value, "value", None) for key, value in metadata.items()}
    trace = lines_of("".join(data.error.stack)) if data.error else []
    return FailedStep(
        message_of(event), str(said.get(CAUSE) or "exception"), tuple(said.get(LINES) or trace)
    )


def message_of(event: Any) -> str:
    """Why the step failed, in its own words."""
    data = event.step_failure_data
    failure = data.user_failure_data
    if failure and failure.description:
        return failure.description
    return data.error.message.strip() if data.error else event.message
