"""What is said of a request that cannot be answered."""

import math
from typing import Any

SHOWN = 60
"""Characters of a value that a refusal shows."""


class BadRequest(Exception):
    """A request that cannot be answered; says what was got and what was expected."""

    def __init__(
        self, message: str, status: int = 400, field: str = "", kind: str = "invalid"
    ) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind
        self.field = field
        """Place of the value in the request, such as `inputs.3.1`."""


def shown(value: Any) -> str:
    """The value as JSON writes it, with its kind where that is not plain."""
    if isinstance(value, str):
        return f"the text {value!r:.{SHOWN}}"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"{value!s:.{SHOWN}}"
