"""Simulations: each materialisation tries a model version and leaves evidence."""

from collections.abc import Iterator

import dagster as dg
from dagster import AssetExecutionContext, MetadataValue

from assets.failures import translated_errors
from assets.keys import asset_key, asset_spec, op_name
from assets.metadata import Report, pictures
from assets.models import VersionConfig, version_of
from assets.step_log import StepLog
from assets.upstream import driver_of, job_identity
from projects.loading import CHECKOUT, LoadedProject
from projects.schema import Criterion, Simulation
from resources.compute.contract import Compute
from resources.compute.requirements import Requirements
from resources.datasets.store import DatasetStore
from resources.storage.evidence import EvidenceStore, KeptEvidence
from resources.storage.object_store import ObjectStore
from resources.tracking.adapter import Tracking
from resources.tracking.registry import RegisteredVersion
from simulations.contract import SimulationResult, SimulationSpec
from simulations.evidence import MEAN, Evidence, Finding, judge


def check_name(metric: str, rule: Criterion) -> str:
    """Name of the criterion as a claim, such as `accuracy_is_at_least_0_85`."""
    side = "at_least" if rule.at_least is not None else "at_most"
    bound = rule.at_least if rule.at_least is not None else rule.at_most
    return op_name(f"{metric}_is_{side}_{bound:g}")


def build_simulation(project: LoadedProject, name: str) -> dg.AssetsDefinition:
    """The asset of one declared simulation, with its gate as blocking checks."""
    declared = project.declaration.simulations[name]
    suite = project.suites[name]
    place = f"`{declared.suite}` " if isinstance(declared.suite, str) else ""
    key = asset_key(project.name, "simulation", name)
    spec = asset_spec(
        project,
        "simulation",
        name,
        deps=[asset_key(project.name, "model", declared.model)],
        kinds={"parquet"},
        description=f"{declared.description}\n\nThe {suite.kind} suite {place}run "
        f"against a version of `{declared.model}`: one row per scenario, seed and unit in "
        "Parquet, estimates with confidence intervals, and evidence bound to the artefact's "
        "hash. A failed check keeps the version away from traffic.",
        metadata={"suite": declared.suite if isinstance(declared.suite, str) else suite.kind},
    )

    @dg.multi_asset(
        name=op_name(project.name, "simulation", name),
        specs=[spec],
        check_specs=[
            dg.AssetCheckSpec(
                check_name(metric, rule),
                asset=key,
                blocking=True,
                description=f"The confidence interval of {metric} clears its bound in "
                f"{'every gated scenario' if rule.of == 'worst' else 'the mean'}.",
            )
            for metric, rule in declared.gate.items()
        ],
    )
    def simulation(
        context: AssetExecutionContext,
        config: VersionConfig,
        compute: dg.ResourceParam[Compute],
        datasets: dg.ResourceParam[DatasetStore],
        objects: dg.ResourceParam[ObjectStore],
        evidence: dg.ResourceParam[EvidenceStore],
        tracking: dg.ResourceParam[Tracking],
    ) -> Iterator[dg.MaterializeResult]:
        report = Report()
        with translated_errors():
            version = version_of(context, project, declared.model, config, tracking)
            job = job_identity(context, key)
            spec = _spec(project, name, job, version, compute, datasets, objects, config.timeout_s)
            log = StepLog(context)
            result = compute.run(
                "simulations.main",
                spec,
                SimulationResult,
                log.progress,
                log.output,
                declared.stall_timeout_s,
                Requirements.of_simulation(declared),
                driver_of(context),
            )
            assert result.evidence and result.results  # a result without failure has both
            results_key = f"simulations/{project.name}/{name}/{result.results_digest}.parquet"
            uri = objects.put_file(result.results, results_key)
            size = result.results.stat().st_size
            evidence.keep(KeptEvidence(evidence=result.evidence, results_uri=uri))
            findings = judge(result.evidence, declared.gate).findings
            tracking.log_metrics(version.run_id, _metrics(result.evidence, findings))
            tracking.log_curves(version.run_id, _curves(result.evidence))
            tracking.log_files(version.run_id, result.pictures, f"simulations/{name}")
            run_url = tracking.run_url(version.run_id)
        yield dg.MaterializeResult(
            asset_key=key,
            data_version=dg.DataVersion(result.results_digest),
            metadata=report.metadata(
                uri=uri,
                size=size,
                mlflow_url=run_url,
                model_version=version.version,
                artefact_digest=version.artefact_digest,
                results_digest=result.results_digest,
                ran_s=log.ran_s,
                steps_per_s=round(result.steps / max(result.seconds, 1e-9)),
                measurements=_table(result.evidence),
                **pictures(result.pictures),
            ),
            check_results=_checks(findings, declared, key),
        )
        compute.forget(job)

    return simulation


def _spec(
    project: LoadedProject,
    name: str,
    job: str,
    version: RegisteredVersion,
    compute: Compute,
    datasets: DatasetStore,
    objects: ObjectStore,
    timeout_s: float | None,
) -> SimulationSpec:
    declared = project.declaration.simulations[name]
    dataset = project.declaration.models[declared.model].dataset
    rows, label = [], None
    if dataset is not None:
        # The version that the model learned from: another version may hold out rows that the model
        # was trained on.
        learned = version.tags["orrery.dataset_version"]
        declaration = version.tags.get("orrery.dataset_declaration")
        held_out = datasets.read(project.name, dataset, learned, declaration)
        rows, label = held_out.test, held_out.label
    return SimulationSpec(
        job=job,
        workdir=compute.workdir(job),
        timeout_s=min(declared.timeout_s, timeout_s or declared.timeout_s),
        project=project.name,
        simulation=name,
        model=declared.model,
        suite=project.suites[name].model_dump(mode="json"),
        artefact=objects.fetch_folder(version.artefact_key, version.artefact_digest),
        artefact_digest=version.artefact_digest,
        rows=rows,
        label=label,
        python_path=[str(project.file.parent), str(CHECKOUT)],
        env_vars=declared.placement.env_vars,
    )


def _metrics(evidence: Evidence, findings: list[Finding]) -> dict[str, float]:
    """What decides the gate, and the mean of the gated scenarios, by simulation."""
    metrics = {}
    for finding in findings:
        m = finding.measurement
        metrics[f"{evidence.simulation}/{m.metric} decisive"] = m.estimate
        metrics[f"{evidence.simulation}/{m.metric} decisive low"] = m.low
    for m in evidence.measurements:
        if m.scenario == MEAN:
            metrics[f"{evidence.simulation}/{m.metric} mean"] = m.estimate
    return metrics


def _curves(evidence: Evidence) -> list[tuple[str, float, int]]:
    """Metric against level, in thousandths: one curve per kind of scenario with a level."""
    points = []
    for m in evidence.measurements:
        if (level := _level_of(m.scenario)) is not None:
            kind = m.scenario.rpartition(" ")[0]
            name = f"{evidence.simulation}/{m.metric} by {kind}"
            # Steps of MLflow are integers, so the level is multiplied by 1,000.
            points.append((name, m.estimate, round(level * 1000)))
    return points


def _level_of(scenario: str) -> float | None:
    """The level of a scenario such as `noise 0.5`; None for others."""
    kind, _, level = scenario.rpartition(" ")
    if not kind or " " in kind or scenario == MEAN:
        return None
    try:
        return float(level)
    except ValueError:
        return None


def _table(evidence: Evidence) -> MetadataValue:
    return MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "scenario": m.scenario,
                    "metric": m.metric,
                    "gated": m.gated,
                    "estimate": round(m.estimate, 4),
                    "low": round(m.low, 4),
                    "high": round(m.high, 4),
                    "n": m.n,
                    "method": m.method,
                }
            )
            for m in evidence.measurements
        ]
    )


def _checks(
    findings: list[Finding], declared: Simulation, key: dg.AssetKey
) -> list[dg.AssetCheckResult]:
    return [
        dg.AssetCheckResult(
            asset_key=key,
            check_name=check_name(metric, rule),
            passed=finding.outcome == "pass",
            description=str(finding),
            metadata={
                "outcome": finding.outcome,
                "scenario": finding.measurement.scenario,
                "estimate": finding.measurement.estimate,
                "low": finding.measurement.low,
                "high": finding.measurement.high,
                "n": finding.measurement.n,
            },
        )
        for finding, (metric, rule) in zip(findings, declared.gate.items(), strict=True)
    ]
