"""Models: registered versions of the exported artefact, and the champion among them."""

import json
import time
from collections.abc import Iterator

import dagster as dg
from dagster import AssetExecutionContext, MetadataValue

from assets.failures import translated_errors
from assets.keys import asset_key, asset_spec, op_name
from assets.metadata import Report, text_of
from assets.recipe import RECIPE_TAG
from assets.upstream import requested_at, upstream
from engine.artefact import read_signature
from projects.loading import LoadedProject
from resources.gate import require_evidence
from resources.orchestration.graphql import JOB_TAG, USER_TAG
from resources.revision import project_revision, revision
from resources.services.local import Superseded
from resources.settings import Settings
from resources.storage.evidence import EvidenceStore
from resources.storage.object_store import ObjectStore, size_of
from resources.tracking.adapter import Tracking
from resources.tracking.registry import (
    PROMOTED_AT,
    TEST_METRICS_TAG,
    RegisteredVersion,
    registered_name,
)

CLOCKS_S = 3_600.0
"""How far the clock of another machine may be ahead."""


class VersionConfig(dg.Config):
    """Which model version a step works on."""

    model_version: int | None = None
    """Version in the registry; by default that of this dagster_run, else the newest."""
    timeout_s: float | None = None
    """Longest time of a simulation, in place of the declared one."""


def build_model(project: LoadedProject, name: str) -> dg.AssetsDefinition:
    """The asset of one model's registered versions."""
    declared = project.declaration.models[name]
    key = asset_key(project.name, "model", name)
    trained_key = asset_key(project.name, "checkpoint", name)
    registered = registered_name(project.name, name)
    spec = asset_spec(
        project,
        "model",
        name,
        deps=[trained_key],
        kinds={"mlflow"},
        description=f"{declared.description}\n\nA version of `{registered}` in the MLflow "
        "registry: the exported artefact with its signature, an input example, its content hash, "
        "and where it came from. The newest is the `candidate`; it serves nobody until its "
        "simulations have passed.",
    )

    @dg.multi_asset(name=op_name(project.name, "model", name), specs=[spec])
    def model(
        context: AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        objects: dg.ResourceParam[ObjectStore],
        tracking: dg.ResourceParam[Tracking],
    ) -> Iterator[dg.MaterializeResult]:
        report = Report()
        with translated_errors():
            trained = upstream(context, trained_key)
            digest = text_of(trained, "artefact_digest")
            folder = objects.fetch_folder(text_of(trained, "artefact_key"), digest)
            signature = read_signature(folder)
            version = tracking.register(
                registered,
                folder,
                digest,
                text_of(trained, "artefact_key"),
                text_of(trained, "mlflow_run_id"),
                signature,
                {
                    "orrery.project": project.name,
                    "orrery.model": name,
                    "orrery.dataset_version": text_of(trained, "dataset_version"),
                    "orrery.dataset_declaration": _text(trained, "dataset_declaration"),
                    "git_revision": revision(),
                    "orrery.project_revision": project_revision(project.file.parent).name,
                    "orrery.job_id": context.run.tags.get(JOB_TAG, ""),
                    "orrery.author": context.run.tags.get(USER_TAG, ""),
                    RECIPE_TAG: _text(trained, "recipe"),
                    TEST_METRICS_TAG: json.dumps(_test_metrics(trained)),
                    "dagster.run": f"{settings.dagster_url}/runs/{context.run.run_id}",
                },
                f"Registered by [this dagster_run]({settings.dagster_url}/runs/"
                f"{context.run.run_id}); the asset is `{key.to_user_string()}`.",
            )
            tracking.point(registered, "candidate", version.version)
        yield dg.MaterializeResult(
            asset_key=key,
            data_version=dg.DataVersion(digest),
            metadata=report.metadata(
                uri=objects.uri(version.artefact_key),
                size=size_of(folder),
                mlflow_url=version.url,
                model_version=version.version,
                artefact_digest=digest,
                runtime=signature.runtime,
                dataset_version=text_of(trained, "dataset_version"),
                test_accuracy=trained.metadata.get("test_accuracy") or MetadataValue.null(),
            ),
        )

    return model


def _test_metrics(trained: dg.AssetMaterialization) -> dict[str, float]:
    """What was measured on the held-out split."""
    values = {k: v.value for k, v in trained.metadata.items() if k.startswith("test_")}
    return {k: float(v) for k, v in values.items() if isinstance(v, (int, float))}


def _text(trained: dg.AssetMaterialization, name: str) -> str:
    """Metadata of the checkpoint; those of older platforms have less."""
    return text_of(trained, name) if name in trained.metadata else ""


def build_champion(project: LoadedProject, name: str) -> dg.AssetsDefinition:
    """The asset of one model's champion: the version that may serve."""
    key = asset_key(project.name, "champion", name)
    simulations = project.declaration.simulations_of(name)
    registered = registered_name(project.name, name)
    spec = asset_spec(
        project,
        "champion",
        name,
        deps=[asset_key(project.name, "simulation", s) for s in simulations]
        or [asset_key(project.name, "model", name)],
        kinds={"mlflow"},
        description=f"The version of `{registered}` that may take traffic. The `champion` alias "
        "moves only when every gated simulation of the model has passed on the very bytes of the "
        "version; otherwise this fails and names the scenario and the numbers. It stays where the "
        "champion has the same bytes, or was promoted by a later request. Set `model_version` to "
        "go back to an earlier version whose evidence stands.",
    )

    @dg.multi_asset(name=op_name(project.name, "champion", name), specs=[spec])
    def champion(
        context: AssetExecutionContext,
        config: VersionConfig,
        objects: dg.ResourceParam[ObjectStore],
        evidence: dg.ResourceParam[EvidenceStore],
        tracking: dg.ResourceParam[Tracking],
    ) -> Iterator[dg.MaterializeResult]:
        report = Report()
        with translated_errors():
            version = version_of(context, project, name, config, tracking)
            verdicts = require_evidence(project, name, version.artefact_digest, evidence)
            verdict = "\n".join(map(str, verdicts))
            promoted, note = _promoted(version, verdict, requested_at(context), tracking)
            context.log.info(note)
        yield dg.MaterializeResult(
            asset_key=key,
            data_version=dg.DataVersion(promoted.artefact_digest),
            metadata=report.metadata(
                uri=objects.uri(promoted.artefact_key),
                size=0,
                mlflow_url=promoted.url,
                model_version=promoted.version,
                artefact_digest=promoted.artefact_digest,
                promotion=note,
                verdict=MetadataValue.md("\n".join(f"- {each}" for each in verdicts)),
            ),
        )

    return champion


def _promoted(
    version: RegisteredVersion, verdict: str, at: float, tracking: Tracking
) -> tuple[RegisteredVersion, str]:
    """The champion, and what was done to make it so. Raises Superseded or TrackingUnavailable."""
    champion = tracking.aliased(version.name, "champion")
    if champion is not None and champion.artefact_digest == version.artefact_digest:
        if champion.version == version.version:
            _tag(version, verdict, at, tracking)
            return version, f"version {version.version} is the champion"
        return champion, (
            f"nothing new to promote: version {version.version} has the same bytes as the "
            f"champion, version {champion.version}"
        )
    if champion is not None:
        _require_latest(version, at, champion)
    # The tag comes first: of two promotions at once, the one that ends last sees that of the other.
    _tag(version, verdict, at, tracking)
    tracking.point(version.name, "champion", version.version)
    latest = max(_promoted_since(version, at, tracking), key=_promoted_at)
    if latest.version != version.version and _promoted_at(latest) > at:
        tracking.point(version.name, "champion", latest.version)
        _require_latest(version, at, latest)
    return version, f"version {version.version} was promoted"


def _require_latest(version: RegisteredVersion, at: float, other: RegisteredVersion) -> None:
    if _promoted_at(other) > at:
        raise Superseded(
            f"version {version.version} of {version.name} gives way to version {other.version}, "
            "which was promoted by a later request"
        )


def _promoted_since(
    version: RegisteredVersion, at: float, tracking: Tracking
) -> list[RegisteredVersion]:
    """The version, and all that were promoted by later requests; perhaps some others."""
    # What two times have in common at their front is the front of every time between them.
    between = _common_front(f"{at:.6f}", f"{time.time() + CLOCKS_S:.6f}")
    return [version, *tracking.tagged(version.name, PROMOTED_AT, between)]


def _common_front(first: str, second: str) -> str:
    length = next(
        (n for n, pair in enumerate(zip(first, second, strict=False)) if len({*pair}) > 1), 0
    )
    return first[:length]


def _promoted_at(version: RegisteredVersion) -> float:
    return float(version.tags.get(PROMOTED_AT, "0"))


def _tag(version: RegisteredVersion, verdict: str, at: float, tracking: Tracking) -> None:
    tags = {"orrery.verdict": verdict[:4000], PROMOTED_AT: f"{at:.6f}"}
    tracking.tag_version(version.name, version.version, tags)


def version_of(
    context: AssetExecutionContext,
    project: LoadedProject,
    model: str,
    config: VersionConfig,
    tracking: Tracking,
) -> RegisteredVersion:
    """The version asked for, else that of this dagster_run, else the newest."""
    number = config.model_version
    if number is None:
        materialised = upstream(context, asset_key(project.name, "model", model))
        number = int(text_of(materialised, "model_version"))
    return tracking.version(registered_name(project.name, model), number)
