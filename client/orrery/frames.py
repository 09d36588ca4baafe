"""Curves and comparisons as frames of pandas, and drawn by matplotlib."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orrery.answers.curves import Metrics
from orrery.answers.simulation import AllEvidence
from orrery.extras import pandas, required

if TYPE_CHECKING:
    from orrery.job import Job


def curves_frame(metrics: Metrics) -> Any:
    """A row for each step, a column for each metric; NaN where a step has no value of it."""
    columns = {name: _series(name, points) for name, points in metrics.metrics.items()}
    frame = pandas().DataFrame(columns)
    frame.index.name = "step"
    return frame.sort_index()


def _series(name: str, points: Sequence[Any]) -> Any:
    # A resumed training may have written a step twice: the value that came last holds.
    values = {point.step: point.value for point in points}
    index = pandas().Index(list(values), dtype="int64", name="step")
    return pandas().Series(list(values.values()), index=index, dtype="float64", name=name)


def drawn_curves(metrics: Metrics, title: str) -> Any:
    """The curves, one below the other; each through its own steps."""
    frame = curves_frame(metrics)
    plots = required("matplotlib.pyplot", "plots")
    rows = max(len(frame.columns), 1)
    figure, axes = plots.subplots(
        rows, 1, figsize=(7, 2.2 * rows), squeeze=False, layout="constrained"
    )
    for axis, name in zip(axes[:, 0], frame.columns, strict=False):
        known = frame[name].dropna()
        axis.plot(known.index, known.to_numpy(), marker="." if len(known) < 30 else None)
        axis.set(ylabel=name, xlabel="step")
    figure.suptitle(title)
    return figure


def comparison_frame(jobs: Sequence["Job"]) -> Any:
    """A row for each job: what it was asked, and what came of it."""
    rows = {job.id: _compared(job) for job in jobs}
    frame = pandas().DataFrame.from_dict(rows, orient="index")
    frame.index.name = "job"
    return frame


def _compared(job: "Job") -> dict[str, Any]:
    info, spec = job.info, job.spec
    row: dict[str, Any] = {
        "project": info.project,
        "name": info.name,
        "status": info.status,
        "worked_s": info.worked_s,
        "cost": info.cost,
        "seed": spec.get("seed"),
        "dataset_version": (spec.get("dataset") or {}).get("version")
        if isinstance(spec.get("dataset"), Mapping)
        else None,
    }
    row |= {f"hyperparameters.{n}": v for n, v in (spec.get("hyperparameters") or {}).items()}
    if info.made is not None:
        row["model_version"] = info.made.model_version
        row |= {f"test_metrics.{n}": v for n, v in info.made.test_metrics.items()}
    return row


def curve_comparison_frame(curves: Mapping[str, Metrics], name: str) -> Any:
    """One metric of several jobs: a row for each step, a column for each job.

    Raises ValueError where no job has the metric.
    """
    having = {
        job: metrics.metrics[name] for job, metrics in curves.items() if name in metrics.metrics
    }
    if not having:
        known = sorted({each for metrics in curves.values() for each in metrics.metrics})
        raise ValueError(f"no job has the metric {name!r}; they have {', '.join(known) or 'none'}")
    frame = pandas().DataFrame({job: _series(job, points) for job, points in having.items()})
    frame.index.name = "step"
    return frame.sort_index()


def evidence_frame(evidence: AllEvidence) -> Any:
    """A row for each measurement, with the verdict of its simulation."""
    rows = [
        {
            "simulation": each.simulation,
            "verdict": each.verdict,
            "scenario": claim.scenario,
            "metric": claim.metric,
            "estimate": claim.estimate,
            "low": claim.low,
            "high": claim.high,
            "n": claim.n,
            "gated": claim.gated,
            "method": claim.method,
        }
        for each in evidence.evidence
        for claim in each.measurements
    ]
    columns = ["simulation", "verdict", "scenario", "metric", "estimate", "low", "high", "n"]
    return pandas().DataFrame(rows, columns=[*columns, "gated", "method"])
