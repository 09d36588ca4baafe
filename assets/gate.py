"""The gate as promotion and deployment ask it: no evidence, no traffic."""

import dagster as dg

from projects.loading import LoadedProject
from resources.evidence import EvidenceStore
from simulations.evidence import Verdict, judge, suite_digest


def require_evidence(
    project: LoadedProject, model: str, artefact_digest: str, evidence: EvidenceStore
) -> list[Verdict]:
    """Passing verdicts of every gated simulation of the model, on exactly these bytes.

    The verdict is taken anew from the evidence, so a threshold that was raised counts at once.
    Raises dg.Failure that names each simulation whose verdict is missing or not a pass, with
    the scenario and the numbers.
    """
    verdicts, refusals = [], []
    for name, simulation in project.declaration.simulations_of(model).items():
        if not simulation.gate:
            continue
        suite = project.suites[name].model_dump(mode="json")
        found = evidence.find(artefact_digest, project.name, name, suite_digest(suite))
        if found is None:
            refusals.append(f"{name}: no evidence for these bytes; materialise the simulation")
            continue
        verdict = judge(found, simulation.gate)
        verdicts.append(verdict)
        if verdict.outcome != "pass":
            refusals.append(str(verdict))
    if refusals or not verdicts:
        reasons = "\n".join(refusals) or "the model has no simulation with a gate"
        raise dg.Failure(
            description=f"The gate refuses {project.name}.{model} (artefact "
            f"{artefact_digest[:12]}):\n{reasons}",
            allow_retries=False,
        )
    return verdicts
