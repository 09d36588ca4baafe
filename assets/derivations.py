"""Datasets that are made from others: what they are made from, and whether anything has changed."""

import hashlib
import json
from collections.abc import Mapping

import dagster as dg
from dagster import AssetExecutionContext

from assets.keys import asset_key
from projects.dataset import Dataset
from projects.loading import LoadedProject
from projects.trainers import source_of
from resources.datasets.sources import Origins, Predictor
from resources.datasets.store import DatasetStore, DatasetVersion, declaration_digest
from resources.settings import CHECKOUT
from resources.storage.object_store import ObjectMissing, ObjectStore
from resources.tracking.registry import RegisteredVersion

RECIPE = "recipe"
"""Metadata of a materialisation: digest of what the rows were made from."""


def code_of(project: LoadedProject, declared: Dataset) -> str | None:
    """Digest of the query or of the module with the function; None for rows of a source."""
    if declared.transform:
        code = source_of(declared.transform, project.file)
        return hashlib.sha256(declared.transform.encode() + b"\0" + code).hexdigest()
    return hashlib.sha256(declared.sql.encode()).hexdigest() if declared.sql else None


def predictor_of(version: RegisteredVersion, objects: ObjectStore) -> Predictor:
    """The model version with its artefact on this machine. Raises OSError."""
    artefact = objects.fetch_folder(version.artefact_key, version.artefact_digest)
    return Predictor(artefact, version.artefact_digest, version.version)


def origins_of(
    project: LoadedProject, given: Mapping[str, DatasetVersion], predictor: Predictor | None
) -> Origins:
    """The versions as the reader takes them."""
    files = {
        name: [file for files in version.of_split.values() for file in files]
        for name, version in given.items()
    }
    return Origins(files, [str(project.file.parent), str(CHECKOUT)], predictor)


def recipe_of(
    project: LoadedProject,
    declared: Dataset,
    given: Mapping[str, DatasetVersion],
    predictor: Predictor | None,
) -> str:
    """Digest of versions, code and declaration: equal recipes give equal rows. Empty for rows of a
    source, which may change without a word."""
    if not given:
        return ""
    versions = {name: version.version for name, version in given.items()}
    model = [predictor.digest, predictor.number] if predictor else None
    parts = [versions, code_of(project, declared), declaration_digest(declared), model]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def unchanged(
    context: AssetExecutionContext,
    project: LoadedProject,
    name: str,
    recipe: str,
    datasets: DatasetStore,
) -> DatasetVersion | None:
    """The newest version, where it was made by the same recipe, which the log then says."""
    if not recipe:
        return None
    key = asset_key(project.name, "dataset", name)
    newest = context.instance.get_latest_materialization_event(key)
    known = newest.asset_materialization if newest else None
    if known is None or _text(known, RECIPE) != recipe:
        return None
    digest = declaration_digest(project.declaration.datasets[name])
    try:
        version = datasets.read(project.name, name, _text(known, "version"), digest)
    except ObjectMissing:
        return None
    context.log.info("not made again: neither what it is made from nor the code has changed")
    return version


def _text(materialised: dg.AssetMaterialization, name: str) -> str:
    value = materialised.metadata.get(name)
    return str(value.value) if value is not None else ""
