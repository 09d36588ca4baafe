"""MLflow's errors: what it refuses for good, and what may pass.

MLflow raises one exception for both; its error codes tell them apart.
"""

from engine.protocol import is_outage

REFUSALS = frozenset(
    {
        "BAD_REQUEST",
        "ENDPOINT_NOT_FOUND",
        "FEATURE_DISABLED",
        "INVALID_PARAMETER_VALUE",
        "INVALID_STATE",
        "MALFORMED_REQUEST",
        "NOT_FOUND",
        "NOT_IMPLEMENTED",
        "PERMISSION_DENIED",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_CONFLICT",
        "RESOURCE_DOES_NOT_EXIST",
        "UNAUTHENTICATED",
    }
)
PASSING = (
    "InterfaceError",
    "PendingRollbackError",
    "UNIQUE constraint failed",
    "UniqueViolation",
)
"""SQLAlchemy's errors of broken connections and of two writers of one row, which MLflow's store
calls a BAD_REQUEST; the second writer finds the row when it tries again."""


def is_refusal(error: Exception) -> bool:
    """Whether the same call would fail again: a name or a state that MLflow does not take, or a
    file that is missing or forbidden."""
    if isinstance(error, OSError):
        return not is_outage(error)
    code = getattr(error, "error_code", None)
    return code in REFUSALS and not any(text in str(error) for text in PASSING)
