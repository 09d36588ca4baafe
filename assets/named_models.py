"""Models that hyperparameters name, finished ones or pretrained ones, where the name floats: a file
may be written anew, and a name of the hub means another commit tomorrow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.artefact import digest_of, manifest_of, sha256_of
from engine.model_hub import HubUnavailable, NoSuchModel, resolve
from projects.finished_model import FINISHED, NAMED_MODELS, PRETRAINED, local_path, pretrained_path
from resources.compute.contract import JobRefused
from resources.storage.object_store import ObjectStore
from training.contract import TrainingSpec

HUB, REVISION = "hf:", "revision"
STORED = "finished"
"""Place in the object store of files and folders under the hash of their content."""


def with_named_models(spec: TrainingSpec, base: Path, objects: ObjectStore) -> TrainingSpec:
    """The spec in which no name of a model floats, where its trainer is a shipped one.

    A file or folder is stored under its hash, where the engine reaches it wherever it runs; a name
    of the hub gets its commit. Raises JobRefused, or OSError.
    """
    field, given = NAMED_MODELS.get(spec.trainer), spec.hyperparameters
    if field is None or not isinstance(given.get(field), str):
        return spec
    fixed = _finished if spec.trainer == FINISHED else _pretrained
    return spec.model_copy(update={"hyperparameters": {**given, **fixed(given, base, objects)}})


def _finished(given: Mapping[str, Any], base: Path, objects: ObjectStore) -> dict[str, str]:
    address = given[NAMED_MODELS[FINISHED]]
    if (path := local_path(address, base)) is not None:
        address = store_model(path, objects)
    elif address.startswith(HUB):
        address = _at_commit(address)
    return {NAMED_MODELS[FINISHED]: address}


def _pretrained(given: Mapping[str, Any], base: Path, objects: ObjectStore) -> dict[str, str]:
    name = given[PRETRAINED]
    if (path := pretrained_path(name, base)) is not None:
        return {PRETRAINED: store_model(path, objects)}
    if name.startswith("s3://") or given.get(REVISION):
        return {}
    try:
        return {REVISION: resolve(name).revision}
    except NoSuchModel as error:
        raise JobRefused(
            f"{error}; expected {PRETRAINED}: a model of the hub, a folder that begins with ./ or"
            " /, or s3://BUCKET/FOLDER"
        ) from error
    except HubUnavailable:
        # The engine may have the files in a cache of its own.
        return {}


def is_stored_model(address: object, root: str) -> bool:
    """Whether the address is one that `store_model` has given, in the object store of the root."""
    place = ObjectStore(root, Path()).uri(STORED)
    return isinstance(address, str) and address.startswith(f"{place}/") and ".." not in address


def store_model(path: Path, objects: ObjectStore) -> str:
    """Address of the model's file or folder, now in the object store.

    Raises JobRefused where there is none, or OSError.
    """
    if path.is_file():
        return objects.put_file(path, f"{STORED}/{sha256_of(path)}/{path.name}")
    if not path.is_dir():
        raise JobRefused(
            f"there is no file {path}; expected a model. Relative paths start at the folder of "
            "the project file"
        )
    manifest = manifest_of(path)
    key = f"{STORED}/{digest_of(manifest)}"
    for name in manifest:
        objects.put_file(path / name, f"{key}/{name}")
    return objects.uri(key)


def _at_commit(address: str) -> str:
    reference, _, file = address.removeprefix(HUB).partition(":")
    try:
        model = resolve(reference)
    except NoSuchModel as error:
        raise JobRefused(f"{error}; expected hf:OWNER/NAME[@REVISION][:FILE]") from error
    except HubUnavailable as error:
        raise ConnectionError(str(error)) from error
    return f"{HUB}{model.repository}@{model.revision}" + (f":{file}" if file else "")
