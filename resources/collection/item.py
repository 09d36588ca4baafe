"""What may be removed, and what became of it."""

from typing import Literal, NamedTuple

Part = Literal["runs", "logs", "checkpoints", "versions"]
"""Part of a declared retention."""
Kind = Literal[
    "model version",
    "evidence",
    "simulation results",
    "artefact",
    "MLflow's copy",
    "Bento",
    "checkpoint",
    "dataset version",
    "data file",
    "dagster_run",
    "run file",
    "log",
    "work folder",
]
Outcome = Literal["chosen", "removed", "kept", "failed"]
"""`chosen` is still to be removed."""
State = Literal["planning", "planned", "removing", "done", "failed"]
"""How far a collection is."""


class Item(NamedTuple):
    """One thing that takes room."""

    kind: Kind
    part: Part
    project: str
    """Empty where it belongs to none."""
    of: str
    """What it is one of: a model or a dataset; empty where the project has one series."""
    name: str
    """Unique among those of its kind."""
    at: float
    """When it was made, in seconds since the epoch."""
    bytes: int
    needed: str = ""
    """Why it stays whatever is declared; empty where it may go."""
    follows: bool = False
    """Whether it goes with what it belongs to, and has no age and number of its own."""
    is_left_over: bool = False
    """Whether nothing names it, so that nobody can want it."""
    value: float | None = None
    """What the best are chosen by."""


class Sorted(NamedTuple):
    """Items, and why those stay that stay."""

    chosen: list[Item]
    kept: list[tuple[Item, str]]

    @property
    def wanted(self) -> set[tuple[Kind, str]]:
        """Kind and name of everything that goes."""
        return {(item.kind, item.name) for item in self.chosen}
