"""Evidence and the gate: measured claims about an artefact's bytes, and the rule over them."""

import hashlib
import json
from typing import Any, Literal

from engine.protocol import Contract
from projects.schema import Criterion

MEAN = "mean of the gated scenarios"
Outcome = Literal["pass", "fail", "inconclusive"]


class Measurement(Contract):
    """An estimated metric of one scenario, with its confidence interval."""

    scenario: str
    metric: str
    gated: bool
    estimate: float
    low: float
    high: float
    n: int
    """Independent units (held-out rows or episodes) behind the estimate."""
    method: str
    """How the interval was computed."""


class Evidence(Contract):
    """What one suite measured about one artefact; equal inputs give equal evidence."""

    project: str
    simulation: str
    model: str
    artefact_digest: str
    suite_digest: str
    measurements: list[Measurement]

    def of(self, metric: str, scenario: str) -> Measurement:
        """The measurement. Raises KeyError."""
        for measurement in self.measurements:
            if (measurement.metric, measurement.scenario) == (metric, scenario):
                return measurement
        raise KeyError((metric, scenario))


class Finding(Contract):
    """The outcome of one criterion in the scenario that decides it."""

    criterion: str
    outcome: Outcome
    measurement: Measurement

    def __str__(self) -> str:
        m = self.measurement
        return (
            f"{self.outcome}: {m.scenario}: {m.metric} {m.estimate:.3f} "
            f"[{m.low:.3f}, {m.high:.3f}] (n={m.n}, {m.method}); required {self.criterion}"
        )


class Verdict(Contract):
    """What the gate says of one simulation's evidence."""

    simulation: str
    outcome: Outcome
    findings: list[Finding]

    def __str__(self) -> str:
        return "\n".join(f"{self.simulation}: {finding}" for finding in self.findings)


def suite_digest(suite: dict[str, Any]) -> str:
    """Content hash of a suite's canonical JSON."""
    return hashlib.sha256(json.dumps(suite, sort_keys=True).encode()).hexdigest()


def judge(evidence: Evidence, gate: dict[str, Criterion]) -> Verdict:
    """The verdict of the gate over the evidence.

    A criterion passes when the whole confidence interval clears its bound, fails when the
    whole interval misses it, and is inconclusive between. The worst finding is the verdict.
    """
    findings = [_finding(evidence, metric, rule) for metric, rule in gate.items()]
    return Verdict(
        simulation=evidence.simulation,
        outcome=_worst([f.outcome for f in findings]),
        findings=findings,
    )


def _finding(evidence: Evidence, metric: str, rule: Criterion) -> Finding:
    text = _text(metric, rule)
    if rule.of == "mean":
        measurement = evidence.of(metric, MEAN)
        return Finding(criterion=text, outcome=_outcome(measurement, rule), measurement=measurement)
    candidates = [
        m for m in evidence.measurements if m.metric == metric and m.gated and m.scenario != MEAN
    ]
    if not candidates:
        raise ValueError(
            f"{evidence.simulation}: no gated scenario measures {metric}; expected at least one"
        )
    decisive = (
        min(candidates, key=lambda m: m.low)
        if rule.at_least is not None
        else max(candidates, key=lambda m: m.high)
    )
    outcome = _worst([_outcome(m, rule) for m in candidates])
    # The extreme bound may belong to a wide, inconclusive interval while another scenario fails.
    if outcome != _outcome(decisive, rule):
        decisive = next(m for m in candidates if _outcome(m, rule) == outcome)
    return Finding(criterion=text, outcome=outcome, measurement=decisive)


def _text(metric: str, rule: Criterion) -> str:
    bound = f">= {rule.at_least:g}" if rule.at_least is not None else f"<= {rule.at_most:g}"
    return f"{metric} {bound} ({'every gated scenario' if rule.of == 'worst' else 'mean'})"


def _outcome(m: Measurement, rule: Criterion) -> Outcome:
    if rule.at_least is not None:
        passes, fails = m.low >= rule.at_least, m.high < rule.at_least
    else:
        passes, fails = m.high <= rule.at_most, m.low > rule.at_most  # type: ignore[operator]
    return "pass" if passes else "fail" if fails else "inconclusive"


def _worst(outcomes: list[Outcome]) -> Outcome:
    for outcome in ("fail", "inconclusive"):
        if outcome in outcomes:
            return outcome
    return "pass"
