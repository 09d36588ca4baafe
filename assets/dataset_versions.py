"""Dataset versions as the steps after them take them: whole, and as their declarations say."""

from dagster import AssetExecutionContext

from assets.keys import asset_key
from assets.metadata import text_of
from assets.upstream import upstream
from projects.loading import LoadedProject
from projects.schema import Dataset
from resources.compute.contract import JobRefused
from resources.datasets.claims import claims
from resources.datasets.store import DatasetStore, DatasetVersion, declaration_digest


def usable_version(
    context: AssetExecutionContext,
    project: LoadedProject,
    name: str,
    datasets: DatasetStore,
    version: str | None = None,
) -> DatasetVersion:
    """The version, by default the one to build on, whose claims hold now: a check guards only its
    own dagster_run. Raises JobRefused or UpstreamMissing."""
    if version is None:
        materialised = upstream(context, asset_key(project.name, "dataset", name))
        version = text_of(materialised, "version")
    declared = project.declaration.datasets[name]
    digest = declaration_digest(declared)
    stored = datasets.read(project.name, name, version, digest)
    if stored.declaration_digest not in ("", digest):
        raise JobRefused(_unlike(name, stored, declared))
    broken = [claim for claim in claims(stored, declared.expect) if not claim.holds]
    if broken:
        reasons = "\n".join(f"{claim.name}: {claim.message}" for claim in broken)
        raise JobRefused(
            f"dataset {name} version {version[:12]} must not be learned from:\n{reasons}\n"
            f"A mended source is read by `orrery datasets make {project.name} {name}`."
        )
    return stored


def _unlike(name: str, version: DatasetVersion, declared: Dataset) -> str:
    """Why a version made by another declaration must not be learned from."""
    actual, says = f"`{version.source}`", f"`{declared.source}`"
    if actual == says:
        actual, says = f"label {version.label}", f"label {declared.label}"
    if actual == says:
        actual, says = (
            "another declaration",
            "other values for split, read, task, image, watch, features or weight",
        )
    return (
        f"dataset {name} version {version.version[:12]} was made from {actual}, and the "
        f"declaration says {says}; materialise the dataset"
    )
