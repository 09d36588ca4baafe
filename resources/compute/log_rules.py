"""What the declared rules make of a job that did not end well, by what its log says."""

import re
from collections.abc import Sequence
from pathlib import Path

from projects.log_rule import LogRule
from resources.compute.contract import JobFailed, JobLost, JobRefused

MOST_BYTES = 1 << 20
"""End of a log that is looked through."""


def rule_of(rules: Sequence[LogRule], log: str) -> tuple[LogRule, str] | None:
    """The first rule that a line of the log matches, with the line; None where none does."""
    lines = log.splitlines() if rules else []
    for rule in rules:
        pattern = re.compile(rule.pattern)
        for line in lines:
            if pattern.search(line):
                return rule, line.strip()
    return None


def ruled(failed: JobFailed, found: tuple[LogRule, str] | None) -> JobFailed:
    """The failure as the rule has it: final, or one after which another attempt is made."""
    if found is None:
        return failed
    rule, line = found
    message = f"{failed}\nthe log says {line!r}, and a log rule of the model says: {rule.then}"
    of_rule = failed.told_as(JobRefused if rule.then == "stop" else JobLost, message)
    of_rule.lines = failed.lines or [line]
    return of_rule


def end_of(log: Path, start: int = 0) -> str:
    """What the log holds behind a place, the last megabyte of it at most."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(start, size - MOST_BYTES))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
