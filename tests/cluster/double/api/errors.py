"""Errors of the API, as the Status objects a client reads."""

from typing import Any

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class ApiError(Exception):
    """A refused request: HTTP code, machine-readable reason, and details."""

    def __init__(
        self,
        code: int,
        message: str,
        reason: str | None = None,
        details: dict[str, Any] | None = None,
        retry_after: int | None = None,
    ):
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason or _REASONS.get(code, "Unknown")
        self.details = details or {}
        self.retry_after = retry_after

    def status(self) -> dict[str, Any]:
        """The Status object."""
        details = dict(self.details)
        if self.retry_after is not None:
            details["retryAfterSeconds"] = self.retry_after
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": details,
            "code": self.code,
        }


def not_found(qualified: str, name: str) -> ApiError:
    """The object does not exist."""
    group, kind = qualified.partition(".")[2], qualified.partition(".")[0]
    details = {"name": name, "group": group, "kind": kind}
    return ApiError(404, f'{qualified} "{name}" not found', details=details)


def already_exists(qualified: str, name: str) -> ApiError:
    """An object of this name exists."""
    details = {"name": name, "kind": qualified.partition(".")[0]}
    return ApiError(409, f'{qualified} "{name}" already exists', "AlreadyExists", details)


def conflict(qualified: str, name: str) -> ApiError:
    """The object has changed since the writer read it."""
    message = (
        f'Operation cannot be fulfilled on {qualified} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    return ApiError(409, message, details={"name": name, "kind": qualified.partition(".")[0]})


def forbidden(qualified: str, name: str, why: str) -> ApiError:
    """An admission rule refuses the object."""
    details = {"name": name, "kind": qualified.partition(".")[0]}
    return ApiError(403, f'{qualified} "{name}" is forbidden: {why}', details=details)


def invalid(kind: str, name: str, causes: list[tuple[str, str]]) -> ApiError:
    """The object breaks its schema; `causes` are pairs of field and message."""
    answer = ", ".join(f"{field}: {message}" if field else message for field, message in causes)
    if len(causes) > 1:
        answer = f"[{answer}]"
    entries = [
        {"reason": "FieldValueInvalid", "message": message, "field": field}
        for field, message in causes
    ]
    details = {"name": name, "kind": kind, "causes": entries}
    return ApiError(422, f'{kind} "{name}" is invalid: {answer}', details=details)
