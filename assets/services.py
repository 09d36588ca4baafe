"""Services: each materialisation packages a model version and puts it behind the router."""

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
from dagster import AssetExecutionContext, MetadataValue

from assets.champions import champion_of
from assets.failures import translated_errors
from assets.keys import asset_key, asset_spec, op_name
from assets.metadata import Report
from assets.step_log import StepLog
from assets.upstream import driver_of, job_identity, requested_at
from engine.progress import Progress
from projects.loading import LoadedProject
from projects.schema import Service
from resources.compute.contract import Compute
from resources.compute.requirements import Requirements
from resources.gate import require_evidence
from resources.services.local import DeploymentFailed, Runtime, answer_to_example
from resources.storage.evidence import EvidenceStore
from resources.storage.object_store import ObjectStore, size_of
from resources.tracking.adapter import Tracking
from resources.tracking.registry import RegisteredVersion, registered_name
from serving.contract import (
    Deployment,
    PackagingResult,
    PackagingSpec,
    RequestLogPlan,
    ServiceStatus,
)

TOLERANCE = 1e-4
# The Gateway of a cluster applies a changed route only a moment later.
ANSWERS_WITHIN_S = 30.0
PACKAGING_TIMEOUT_S = 600
SAME = "predictions_equal_the_artefact"


class DeploymentConfig(dg.Config):
    """Which model version a step serves."""

    model_version: int | None = None
    """Version in the registry; by default the champion that this dagster_run made, else the
    champion."""
    artefact_digest: str | None = None
    """Content hash that the version must have."""


def build_service(project: LoadedProject, name: str) -> dg.AssetsDefinition:
    """The asset of one declared service."""
    declared = project.declaration.services[name]
    key = asset_key(project.name, "service", name)
    champion_key = asset_key(project.name, "champion", declared.model)
    spec = asset_spec(
        project,
        "service",
        name,
        deps=[champion_key],
        kinds={"bentoml"},
        description=f"{declared.description}\n\nThe champion of `{declared.model}` (or the version "
        "that a deployment pins), packaged as a Bento and served by processes that the reconciler "
        f"keeps. A new version takes over in steps of {declared.rollout.canary} percent without a "
        "failed request. The gate is asked again here, so that nothing reaches traffic without "
        "evidence, however it is started.",
    )

    @dg.multi_asset(
        name=op_name(project.name, "service", name),
        specs=[spec],
        check_specs=[
            dg.AssetCheckSpec(
                SAME,
                asset=key,
                description="The service answers what the registered artefact answers, to within "
                f"{TOLERANCE:g} of the outputs' scale.",
            )
        ],
    )
    def service(
        context: AssetExecutionContext,
        config: DeploymentConfig,
        compute: dg.ResourceParam[Compute],
        objects: dg.ResourceParam[ObjectStore],
        evidence: dg.ResourceParam[EvidenceStore],
        tracking: dg.ResourceParam[Tracking],
        runtime: dg.ResourceParam[Runtime],
    ) -> Iterator[dg.MaterializeResult]:
        report = Report()
        with translated_errors():
            version = _version(context, config, project, declared.model, tracking)
            # Asked again here, because a blocking check guards only its own dagster_run.
            require_evidence(project, declared.model, version.artefact_digest, evidence)
            job = job_identity(context, key)
            full_name = f"{project.name}.{name}"
            packaged = compute.run(
                "serving.main",
                PackagingSpec(
                    job=job,
                    workdir=compute.workdir(job),
                    timeout_s=PACKAGING_TIMEOUT_S,
                    service=full_name,
                    model=version.name,
                    model_version=version.version,
                    artefact=objects.fetch_folder(version.artefact_key, version.artefact_digest),
                    artefact_digest=version.artefact_digest,
                    dataset_version=version.tags.get("orrery.dataset_version", ""),
                    bento_home=runtime.bento_home(compute.workdir(job)),
                    max_rows=declared.batching.max_rows,
                ),
                PackagingResult,
                StepLog(context).progress,
                StepLog(context).output,
                driver=driver_of(context),
            )
            assert packaged.bento  # a result without failure has it
            deployment = _deployment(
                full_name, declared, version, packaged, runtime, compute.workdir(job)
            )
            status = runtime.deploy(
                deployment.model_copy(update={"asked_at": requested_at(context)}),
                lambda status: StepLog(context).progress(_reached(status)),
                Requirements.of_service(declared, packaged.replica_mib),
                driver_of(context),
            )
            difference = _difference(runtime.endpoint(full_name), version, packaged)
        context.log.info(f"{full_name} {packaged.version} serves at {status.url}")
        yield dg.MaterializeResult(
            asset_key=key,
            data_version=dg.DataVersion(packaged.tag),
            metadata=report.metadata(
                uri=str(packaged.bento),
                size=size_of(packaged.bento),
                mlflow_url=version.url,
                address=MetadataValue.url(status.url),
                bento=packaged.tag,
                model_version=version.version,
                artefact_digest=version.artefact_digest,
                replicas=len(status.replicas),
                replica_mib=packaged.replica_mib,
            ),
            check_results=[
                dg.AssetCheckResult(
                    asset_key=key,
                    check_name=SAME,
                    passed=difference <= TOLERANCE,
                    description=f"largest difference {difference:.2e} of the outputs' scale",
                )
            ],
        )
        compute.forget(job)

    return service


def _reached(status: ServiceStatus) -> Progress:
    """How far the deployment is: percents of the traffic, and what keeps its replicas."""
    waits = status.state == "starting" and bool(status.message)
    return Progress(
        at=time.time(),
        done=status.weight,
        total=100,
        unit="percent of the traffic",
        message=f"{status.service}: {status.state} {status.message}".rstrip(),
        state="waiting" if waits else "running",
        reason=status.message,
    )


def _version(
    context: AssetExecutionContext,
    config: DeploymentConfig,
    project: LoadedProject,
    model: str,
    tracking: Tracking,
) -> RegisteredVersion:
    """The pinned version, else the champion that this dagster_run made, else the champion.

    Where the champion has the same bytes as a pinned version, it is the champion: the same bytes
    are not deployed as another version. Raises dg.Failure or TrackingUnavailable.
    """
    registered = registered_name(project.name, model)
    if config.model_version is None:
        version = champion_of(context, project, model, tracking)
    else:
        version = tracking.version(registered, config.model_version)
    if config.artefact_digest not in (None, version.artefact_digest):
        raise dg.Failure(
            description=f"version {version.version} of {registered} has artefact "
            f"{version.artefact_digest[:12]}, and the deployment pins "
            f"{config.artefact_digest[:12]}; deploy it again",
            allow_retries=False,
        )
    champion = tracking.aliased(registered, "champion")
    is_same = champion is not None and champion.artefact_digest == version.artefact_digest
    return champion if champion is not None and is_same else version


def _deployment(
    service: str,
    declared: Service,
    version: RegisteredVersion,
    packaged: PackagingResult,
    runtime: Runtime,
    workdir: Path,
) -> Deployment:
    assert packaged.bento  # a result without failure has it
    log = declared.request_log
    plan = RequestLogPlan(
        folder=runtime.request_logs / service, sample=log.sample, megabytes=log.megabytes
    )
    return Deployment(
        service=service,
        version=packaged.version,
        model_version=version.version,
        artefact_digest=version.artefact_digest,
        bento=packaged.bento,
        bento_home=runtime.bento_home(workdir),
        replicas=declared.scale.min,
        most_replicas=declared.scale.max,
        canary=declared.rollout.canary,
        step_s=declared.rollout.step_s,
        request_log=plan if log.enabled else None,
    )


def _difference(url: str | None, version: RegisteredVersion, packaged: PackagingResult) -> float:
    """Largest difference between service and artefact, relative to the outputs' scale; of texts the
    share that differ."""
    answer = answer_to_example(url, version.version, ANSWERS_WITHIN_S)
    got, expected = np.asarray(answer["outputs"]), np.asarray(packaged.example_outputs)
    if got.shape != expected.shape:
        raise DeploymentFailed(
            f"{url} gave outputs of shape {got.shape}, expected {expected.shape}"
        )
    if expected.dtype.kind not in "iuf":
        return float((got != expected).mean())
    return float(np.abs(got - expected).max() / max(1.0, np.abs(expected).max()))
