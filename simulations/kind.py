"""The protocol of a kind of suite: what it is given, and what it gives."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from projects.suite import Suite
from simulations.outcomes import Outcomes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulations.evidence import Measurement
    from simulations.held_out import HeldOut
    from simulations.subject import Subject
    from simulations.trials import Trials


@dataclass(frozen=True)
class SuiteRun:
    """What a suite works with."""

    subject: "Subject"
    held_out: "HeldOut"
    workdir: Path
    python_path: tuple[str, ...] = ()
    """Folders that hold the code a suite names, besides the environment."""
    identity: str = ""
    """Names the bytes of the model and the suite, for trials that are kept."""

    def trials(self, total: int) -> "AbstractContextManager[Trials]":
        """Measures trials one after the other, keeps each for a later attempt, and reports; their
        names are all different."""
        from simulations.trials import Trials

        return closing(Trials(self.workdir, total, self.identity))


class SuiteKind(Suite):
    """A kind of suite: its declaration, its measurement and its pictures.

    Only light modules may be loaded with it, because every process that reads declarations loads
    all kinds; what measures is imported in `outcomes`.
    """

    def outcomes(self, run: SuiteRun) -> list[Outcomes]:
        """What happened in every scenario, one Outcomes for each metric. Raises Refused."""
        raise NotImplementedError

    def draw(self, measurements: "list[Measurement]") -> "Mapping[str, Figure]":
        """Pictures of the results, by file name without ending."""
        return {}

    def evaluations(self, outcomes: list[Outcomes]) -> int:
        """Model evaluations behind the outcomes, for the speed that is shown."""
        return outcomes[0].values.size
