"""What a line of a job's log asks for, where the job does not end well."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from projects.declared import Declared


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"got {pattern!r}, expected a regular expression: {error}") from error
    return pattern


class LogRule(Declared):
    """A pattern in the log of a job that failed, and what follows from it."""

    pattern: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_compiles)]
    """Regular expression that a line of the log matches anywhere."""
    then: Literal["retry", "stop", "other_node"]
    """`retry`: another attempt, also after a failure that is final by itself; `stop`: none;
    `other_node`: another attempt, on a cluster on a node that the job was not on before."""
