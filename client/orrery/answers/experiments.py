"""What operations take and answer: experiments.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment: whose runs are compared with each other."""

    id: str
    name: str
    project: str
    url: str
    """Page in the MLflow UI."""
    created_at: datetime
