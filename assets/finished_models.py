"""Finished models whose address floats, such as a file that may be written anew, as the bytes that
they are now."""

from pathlib import Path

from engine.artefact import digest_of, manifest_of, sha256_of
from engine.model_hub import HubUnavailable, NoSuchModel, resolve
from projects.finished_model import FINISHED, local_path
from resources.compute.contract import JobRefused
from resources.storage.object_store import ObjectStore
from training.contract import TrainingSpec

HUB = "hf:"
STORED = "finished"
"""Place in the object store of files and folders under the hash of their content."""


def with_finished_model(spec: TrainingSpec, base: Path, objects: ObjectStore) -> TrainingSpec:
    """The spec with an address that does not float, where its trainer brings a finished model.

    A file is stored under its hash, where the engine reaches it wherever it runs; a name of the
    hub gets its commit. Raises JobRefused, or OSError.
    """
    address = spec.hyperparameters.get("model")
    if spec.trainer != FINISHED or not isinstance(address, str):
        return spec
    path = local_path(address, base)
    if path is not None:
        address = store_model(path, objects)
    elif address.startswith(HUB):
        address = _at_commit(address)
    return spec.model_copy(update={"hyperparameters": {**spec.hyperparameters, "model": address}})


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
