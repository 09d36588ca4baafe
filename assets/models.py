"""Models: registered versions of the exported artefact, and the champion among them."""

from collections.abc import Iterator

import dagster as dg
from dagster import AssetExecutionContext, MetadataValue

from assets.failures import told
from assets.gate import require_evidence
from assets.keys import asset_key, asset_spec, op_name
from assets.metadata import Report, text_of
from assets.upstream import upstream
from engine.artefact import read_signature
from projects.loading import LoadedProject
from resources.evidence import EvidenceStore
from resources.object_store import ObjectStore, size_of
from resources.revision import revision
from resources.settings import Settings
from resources.tracking import RegisteredVersion, Tracking, registered_name


class VersionConfig(dg.Config):
    """Which model version a step works on."""

    model_version: int | None = None
    """Version in the registry; by default that of this dagster_run, else the newest."""


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
        kinds={"mlflow", "onnx"},
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
        with told():
            trained = upstream(context, trained_key)
            digest = text_of(trained, "artefact_digest")
            folder = objects.fetch_folder(text_of(trained, "artefact_key"), digest)
            version = tracking.register(
                registered,
                folder,
                digest,
                text_of(trained, "artefact_key"),
                text_of(trained, "mlflow_run_id"),
                read_signature(folder),
                {
                    "orrery.project": project.name,
                    "orrery.model": name,
                    "orrery.dataset_version": text_of(trained, "dataset_version"),
                    "orrery.dataset_declaration": _declaration_of(trained),
                    "git_revision": revision(),
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
                dataset_version=text_of(trained, "dataset_version"),
                test_accuracy=trained.metadata.get("test_accuracy") or MetadataValue.null(),
            ),
        )

    return model


def _declaration_of(trained: dg.AssetMaterialization) -> str:
    """Digest of the dataset's declaration; checkpoints of older platforms have none."""
    known = "dataset_declaration" in trained.metadata
    return text_of(trained, "dataset_declaration") if known else ""


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
        "version; otherwise this fails and names the scenario and the numbers. Set "
        "`model_version` to go back to an earlier version whose evidence stands.",
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
        with told():
            version = version_of(context, project, name, config, tracking)
            verdicts = require_evidence(project, name, version.artefact_digest, evidence)
            tracking.point(registered, "champion", version.version)
            text = "\n".join(map(str, verdicts))
            tracking.tag_version(registered, version.version, {"orrery.verdict": text[:4000]})
        yield dg.MaterializeResult(
            asset_key=key,
            data_version=dg.DataVersion(version.artefact_digest),
            metadata=report.metadata(
                uri=objects.uri(version.artefact_key),
                size=0,
                mlflow_url=version.url,
                model_version=version.version,
                artefact_digest=version.artefact_digest,
                verdict=MetadataValue.md("\n".join(f"- {verdict}" for verdict in verdicts)),
            ),
        )

    return champion


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
        made = upstream(context, asset_key(project.name, "model", model))
        number = int(text_of(made, "model_version"))
    return tracking.version(registered_name(project.name, model), number)
