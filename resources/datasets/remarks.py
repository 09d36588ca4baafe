"""Remarks: what a reader left out or converted, and why."""

from collections.abc import Iterable
from typing import Literal

from engine.protocol import Contract

MOST_REMARKS = 100
"""Remarks that a version keeps one by one; the rest are counted."""


class Remark(Contract):
    """One thing that the rows of a version do not hold as the source has it."""

    subject: str
    """Name of a column, a file or a function."""
    about: Literal["column", "file", "function"] = "column"
    action: Literal["left_out", "converted", "uncertain"]
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
    """The remarks, with equal ones counted together."""
    by_subject: dict[tuple[str, str, str], Remark] = {}
    for remark in remarks:
        key = (remark.subject, remark.action, remark.reason)
        known = by_subject.get(key)
        count = remark.count + (known.count if known else 0)
        by_subject[key] = (known or remark).model_copy(update={"count": count})
    return list(by_subject.values())


def bounded(remarks: list[Remark]) -> list[Remark]:
    """At most `MOST_REMARKS` remarks, and one that counts the rest."""
    if len(remarks) <= MOST_REMARKS:
        return remarks
    rest = remarks[MOST_REMARKS:]
    is_loss = any(remark.action == "left_out" for remark in rest)
    summary = Remark(
        subject="other columns and files",
        about="file",
        action="left_out" if is_loss else "converted",
        count=len(rest),
        reason=f"further remarks, the first on {rest[0].subject}: {rest[0].reason}",
    )
    return [*remarks[:MOST_REMARKS], summary]
