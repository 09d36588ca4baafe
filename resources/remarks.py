"""Remarks: what a reader left out or converted, and why."""

from collections.abc import Iterable
from typing import Literal

from engine.protocol import Contract

MOST_REMARKS = 100
"""Remarks that a version keeps one by one; the rest are counted."""


class Remark(Contract):
    """One thing that the rows of a version do not hold as the source has it."""

    subject: str
    """Column or file."""
    action: Literal["left_out", "converted"]
    count: int
    """Values, rows or files concerned."""
    reason: str
    """What was found, what was done, and what to declare for something else."""
    example: str | None = None
    """One of the values."""
    file: str | None = None
    """File of the example."""
    line: int | None = None
    """Line of the example in its file, counted from 1."""

    def __str__(self) -> str:
        place = f", line {self.line} of {self.file}" if self.line and self.file else ""
        example = f" (such as {self.example!r}{place})" if self.example is not None else ""
        action = self.action.replace("_", " ")
        return f"{self.subject}: {action}, {self.count}{example}: {self.reason}"


def merged(remarks: Iterable[Remark]) -> list[Remark]:
    """The remarks with equal ones counted together, at most `MOST_REMARKS` and one of the rest."""
    found: dict[tuple[str, str, str], Remark] = {}
    for remark in remarks:
        key = (remark.subject, remark.action, remark.reason)
        known = found.get(key)
        count = remark.count + (known.count if known else 0)
        found[key] = (known or remark).model_copy(update={"count": count})
    every = list(found.values())
    if len(every) <= MOST_REMARKS:
        return every
    rest = every[MOST_REMARKS:]
    reason = f"and as much was remarked on {rest[0].subject} and {len(rest) - 1} others"
    action = "left_out" if any(r.action == "left_out" for r in rest) else "converted"
    summary = Remark(subject="...", action=action, count=len(rest), reason=reason)
    return [*every[:MOST_REMARKS], summary]
