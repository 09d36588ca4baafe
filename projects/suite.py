"""The declaration of a suite: the scenarios a model version is tried in.

A kind of suite is a subclass in a module of its own under `simulations/kinds`, or in an installed
distribution that names it as an entry point of the group `orrery.suites`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field

from projects.declared import Declared

if TYPE_CHECKING:
    from projects.schema import Dataset, Model

Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Severity = Annotated[float, Field(gt=0, le=1)]


class UnusableSuite(ValueError):
    """A suite names code that is not there."""


class Suite(Declared):
    """What every kind of suite declares, and what it can say before it runs."""

    # Each kind has a literal of its own here.
    kind: Any
    seeds: Seeds = [0]
    """Seeds of everything that is drawn: the same seeds give the same evidence."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence of the intervals, for all gated scenarios together."""

    def metrics(self) -> tuple[str, ...]:
        """Names of what it measures, which a gate may bound."""
        raise NotImplementedError

    def misfit(self, model: "Model", dataset: "Dataset | None") -> str:
        """Why the suite cannot try a model that learns from the dataset, in a sentence; empty
        where it can."""
        raise NotImplementedError

    def code(self) -> tuple[str, ...]:
        """Every `module:function` that running it imports: requests may name allowed ones only."""
        return ()

    def resolved(self, declaration: Path) -> Self:
        """The suite with what the platform adds to it, such as the hash of the code it names.

        Raises UnusableSuite.
        """
        return self


def needs_rows(suite: Suite, dataset: "Dataset | None") -> str:
    """Why a suite over held-out rows cannot use the dataset; empty where it can."""
    if dataset is None:
        return (
            f"got a {suite.kind} suite for a model without a dataset, expected one that learns "
            "from rows: the suite tries held-out rows"
        )
    return ""
