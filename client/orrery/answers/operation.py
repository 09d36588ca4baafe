"""What operations take and answer: operation.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Done:
    """An operation that has nothing more to say."""

    message: str
