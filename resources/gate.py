"""The gate: which evidence about an artefact's bytes lets a model version reach traffic.

One plain function for promotion, deployment and the API alike. The verdict is taken anew from the
evidence each time, so a threshold that was raised counts at once.
"""

from typing import Literal

from engine.protocol import Contract
from projects.loading import LoadedProject
from resources.storage.evidence import EvidenceStore
from simulations.evidence import Finding, Verdict, judge, suite_digest


class Judgement(Contract):
    """What the gate says of one gated simulation about the bytes."""

    simulation: str
    outcome: Literal["pass", "fail", "inconclusive", "missing"]
    findings: list[Finding] = []
    """One for each criterion; none where the outcome is `missing`."""

    def __str__(self) -> str:
        if self.outcome == "missing":
            return f"{self.simulation}: no evidence for these bytes; run the simulation"
        verdict = Verdict(simulation=self.simulation, outcome=self.outcome, findings=self.findings)
        return str(verdict)


class GateRefused(Exception):
    """The gate refuses the artefact: a gated simulation has no passing verdict on its bytes."""

    def __init__(self, model: str, artefact_digest: str, judgements: list[Judgement]) -> None:
        self.model, self.artefact_digest = model, artefact_digest
        self.refusals = [each for each in judgements if each.outcome != "pass"]
        """Of every gated simulation that does not pass; none where no simulation has a gate."""
        reasons = "\n".join(map(str, self.refusals)) or "the model has no simulation with a gate"
        super().__init__(f"The gate refuses {model} (artefact {artefact_digest[:12]}):\n{reasons}")


def judgements(
    project: LoadedProject, model: str, artefact_digest: str, evidence: EvidenceStore
) -> list[Judgement]:
    """What every gated simulation of the model says of exactly these bytes. Raises OSError."""
    results = []
    for name, simulation in project.declaration.simulations_of(model).items():
        if not simulation.gate:
            continue
        suite = project.suites[name].model_dump(mode="json")
        kept = evidence.find(artefact_digest, project.name, name, suite_digest(suite))
        if kept is None:
            results.append(Judgement(simulation=name, outcome="missing"))
            continue
        verdict = judge(kept, simulation.gate)
        results.append(
            Judgement(simulation=name, outcome=verdict.outcome, findings=verdict.findings)
        )
    return results


def may_serve(judged: list[Judgement]) -> bool:
    """Whether the bytes may reach traffic: a gate was asked, and every one passes."""
    return bool(judged) and all(each.outcome == "pass" for each in judged)


def require_evidence(
    project: LoadedProject, model: str, artefact_digest: str, evidence: EvidenceStore
) -> list[Judgement]:
    """Passing judgements of every gated simulation of the model, on exactly these bytes.

    Raises GateRefused with each simulation whose evidence is missing or does not pass, or OSError.
    """
    judged = judgements(project, model, artefact_digest, evidence)
    if not may_serve(judged):
        raise GateRefused(f"{project.name}.{model}", artefact_digest, judged)
    return judged
