"""One model: its versions, the evidence about them, and training it."""

from html import escape
from typing import TYPE_CHECKING, Any

from orrery.answers import catalog, simulation
from orrery.connection import Listing
from orrery.frames import evidence_frame
from orrery.pictures import Picture

if TYPE_CHECKING:
    from orrery.client import Client
    from orrery.job import Job

COLOURS = {"pass": "#2e7d32", "fail": "#c62828", "inconclusive": "#b26a00", "missing": "#616161"}


class Model:
    """A handle of one declared model."""

    def __init__(self, client: "Client", project: str, name: str) -> None:
        self._client, self.project, self.name = client, project, name

    @property
    def info(self) -> catalog.Model:
        """What the platform says of it now. Raises NotFound."""
        return self._client.operations.models.get(self.project, self.name)

    def versions(self) -> Listing[catalog.ModelVersion]:
        """Its versions, the newest first."""
        return self._client.operations.models.versions(self.project, self.name)

    def train(self, **fields: Any) -> "Job":
        """Train it; takes what `Client.train` takes."""
        return self._client.train(str(self), **fields)

    def register(self, address: str, **fields: Any) -> "Job":
        """Register a finished model as its next version.

        address: A file or folder on the platform's machine, `s3://...`, `mlflow:...` or `hf:...`.
        """
        operation = self._client.operations.models.register
        return self._client.handle(operation(self.project, self.name, address, **fields))

    def evidence(self, version: int | None = None) -> "Evidence":
        """What every simulation measured about a version, the newest by default.

        Raises NotFound, also where there is no version yet.
        """
        known = self._client.operations.models.versions(self.project, self.name)
        if version is None:
            version = next((each.version for each in known), 1)
        found = self._client.operations.models.evidence(self.project, self.name, version)
        run = next((each.run_id for each in known if each.version == version), None)
        return Evidence(self._client, self, found, run)

    def __str__(self) -> str:
        return f"{self.project}/{self.name}"

    def __repr__(self) -> str:
        return f"<model {self}>"


class Evidence:
    """What was measured about one model version, and what the gate says of it."""

    def __init__(
        self, client: "Client", model: Model, info: simulation.AllEvidence, run_id: str | None
    ) -> None:
        self._client, self._run_id = client, run_id
        self.model, self.info = model, info

    @property
    def may_serve(self) -> bool:
        """Whether every gate is passed."""
        return self.info.may_serve

    @property
    def verdicts(self) -> dict[str, str]:
        """`pass`, `fail`, `inconclusive` or `missing`, by simulation."""
        return {each.simulation: each.verdict for each in self.info.evidence}

    def frame(self) -> Any:
        """Every measurement as a frame of pandas: scenario, metric, estimate and its interval."""
        return evidence_frame(self.info)

    def pictures(self) -> list[Picture]:
        """Pictures that the simulations drew."""
        if self._run_id is None:
            return []
        return self._client.pictures_of(self._run_id, "simulations/")

    def __repr__(self) -> str:
        told = ", ".join(f"{name} {verdict}" for name, verdict in self.verdicts.items())
        serve = "may serve" if self.may_serve else "may not serve"
        return f"<evidence on {self.model} version {self.info.model_version}: {serve}; {told}>"

    def _repr_html_(self) -> str:
        serve = "may serve" if self.may_serve else "may not serve"
        head = f"<b>{escape(str(self.model))} version {self.info.model_version} {serve}</b>"
        rows = "".join(_row(each) for each in self.info.evidence)
        pictures = "".join(picture.html() for picture in self.pictures())
        return f"{head}<table>{rows}</table>{pictures}"


def _row(evidence: simulation.Evidence) -> str:
    colour = COLOURS.get(evidence.verdict, "inherit")
    findings = "<br>".join(map(escape, evidence.findings))
    return (
        f"<tr><th>{escape(evidence.simulation)}</th>"
        f'<td style="color: {colour}">{escape(evidence.verdict)}</td>'
        f'<td style="text-align: left">{findings}</td></tr>'
    )
