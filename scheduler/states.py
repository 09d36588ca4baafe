"""What kinds of jobs there are, and the states they pass."""

from typing import Literal, get_args

Kind = Literal["make", "train", "simulate", "deploy"]
Status = Literal[
    "queued", "starting", "waiting", "running", "stopping", "succeeded", "failed", "stopped"
]
STATUSES: tuple[Status, ...] = get_args(Status)
ENDED: frozenset[Status] = frozenset({"succeeded", "failed", "stopped"})
GOING: tuple[Status, ...] = tuple(status for status in STATUSES if status not in ENDED)
