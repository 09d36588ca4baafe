"""How jobs end: what they made, what the gate says of it, and why they failed.

A verdict is a result: a job that measured has succeeded, whatever the gate says of the measure.
"""

from typing import Any, NamedTuple

from resources.orchestration.events import CheckResult, Outcome
from scheduler.jobs import FAILURE, Job
from scheduler.states import Status

WORST = ("fail", "inconclusive", "pass")


class Ending(NamedTuple):
    """The end of a job."""

    status: Status
    message: str | None
    made: dict[str, Any] | None
    verdict: str | None
    ran_s: float | None


def ending(job: Job, status: Status, outcome: Outcome) -> Ending:
    """The end of a job whose dagster_run ended with the status."""
    verdict = _verdict(outcome.checks)
    message: str | None = None
    if status == "failed" and outcome.stopped_by_checks:
        broken = [check for check in outcome.checks if not check.passed]
        message = "\n".join(_sentence(check) for check in broken)
        if job.kind == "simulate":
            status = "succeeded"
    elif status == "failed":
        message = outcome.failure.message
    elif verdict == "pass":
        message = ""
    made = _result_of(outcome.made)
    if status == "failed" and not outcome.stopped_by_checks:
        cause, lines = outcome.failure.cause or "exception", list(outcome.failure.lines)
        made[FAILURE] = {"cause": cause, "lines": lines}
    return Ending(status, message, made or None, verdict, _ran_s(outcome.made))


def _verdict(checks: list[CheckResult]) -> str | None:
    outcomes = {check.outcome for check in checks if check.outcome}
    return next((outcome for outcome in WORST if outcome in outcomes), None)


def _sentence(check: CheckResult) -> str:
    return (
        f"{'/'.join(check.asset[1:])}: {check.name.replace('_', ' ')} does not hold: {check.text}"
    )


def _result_of(materialisations: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the API calls it, from the metadata of the assets; the latest in the loop wins."""
    result: dict[str, Any] = {}
    for family in ("dataset", "checkpoint", "model", "champion", "simulation", "service"):
        metadata = materialisations.get(family, {})
        names = {
            "dataset_version": "version" if family == "dataset" else "dataset_version",
            "model_version": "model_version",
            "artefact_digest": "artefact_digest",
            "mlflow_run_id": "mlflow_run_id",
            "mlflow_url": "mlflow",
            "service_url": "address",
        }
        result |= {ours: metadata[key] for ours, key in names.items() if metadata.get(key)}
        tests = {k: v for k, v in metadata.items() if k.startswith("test_")}
        if family == "checkpoint" and tests:
            result["test_metrics"] = tests
    return result


def _ran_s(materialisations: dict[str, dict[str, Any]]) -> float | None:
    """Seconds that the engines of the job worked."""
    ran = [
        metadata["ran_s"]
        for metadata in materialisations.values()
        if metadata.get("ran_s") is not None
    ]
    return round(sum(ran), 3) if ran else None
