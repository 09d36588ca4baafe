"""Reported metrics as plain numbers under names that MLflow keeps."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

LONGEST_NAME = 250
_ILLEGAL = re.compile(r"[^\w.\- :/]")


class Numbers(NamedTuple):
    """What of a report can be kept, and what cannot."""

    values: dict[str, float]
    remarks: dict[str, str]
    """Sentence by metric that was renamed or left out."""


def numbers_of(metrics: Mapping[str, Any]) -> Numbers:
    """Every metric that stands for one number: Python's, NumPy's, or a tensor of one element."""
    values: dict[str, float] = {}
    remarks: dict[str, str] = {}
    for name, value in metrics.items():
        number = _number(value)
        if number is None:
            kind = type(value).__name__
            remarks[str(name)] = (
                f"the metric {name!r} is left out: got {kind} {value!r:.60}, expected one number"
            )
            continue
        kept = _kept_name(str(name))
        if kept in values:
            remarks[str(name)] = (
                f"the metric {name!r} is left out: {kept!r}, as MLflow can keep it, is the name of "
                "another; rename one of them"
            )
            continue
        if kept != name:
            remarks[str(name)] = (
                f"the metric {name!r} is kept as {kept!r}: MLflow takes letters, digits and _-.:/ "
                f"or spaces, at most {LONGEST_NAME}"
            )
        values[kept] = number
    return Numbers(values, remarks)


def _number(value: Any) -> float | None:
    if isinstance(value, (str, bytes)) or value is None:
        return None
    if hasattr(value, "detach"):
        value = value.detach()
    try:
        # Arrays and tensors of one element, of whatever shape, give it; others raise.
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None


def _kept_name(name: str) -> str:
    """The name with _ in place of what MLflow does not take; `a//b` and `/a` are no paths to it."""
    legal = _ILLEGAL.sub("_", name).strip()[:LONGEST_NAME]
    parts = [part for part in legal.split("/") if part not in ("", ".", "..")]
    return "/".join(parts) or "metric"
