"""The adapter to the places where finished models lie: files and folders, buckets, an MLflow
server and the Hugging Face hub.

timeout, retry: the bucket's, MLflow's and the hub's own; an outage is an OSError, and the job is
    tried again.
cancel: what was brought here lies in a temporary folder, which goes with the job.
duplicate: the same address gives the same bytes while it stands; the platform gives addresses
    with a hash, a version or a commit in them.
partial write: nothing is read before all of it is here.
"""

from collections.abc import Callable
from pathlib import Path

from engine.bucket import Bucket
from engine.model_hub import HubUnavailable, NoSuchModel, Pretrained, download, resolve
from engine.protocol import Refused


def fetched(address: str, folder: Path) -> Path:
    """The file or folder of the model, on this machine: where it is, or now below the folder.

    Raises Refused where there is none, and OSError where it cannot be reached.
    """
    for beginning, fetch in FETCHERS.items():
        if address.startswith(beginning):
            folder.mkdir(parents=True, exist_ok=True)
            return fetch(address.removeprefix(beginning), folder)
    place = Path(address)
    if not place.exists():
        raise Refused(f"there is no file {address}; expected a model")
    return place


def _from_bucket(address: str, folder: Path) -> Path:
    place, _, name = f"s3://{address.rstrip('/')}".rpartition("/")
    bucket = Bucket(place)
    if bucket.size(name) is None:
        bucket.download_folder(name, folder)
        if not any(folder.iterdir()):
            raise Refused(f"there is no object s3://{address}, nor one below it; expected a model")
        return folder
    bucket.download(name, folder / name)
    return folder / name


def _from_mlflow(address: str, folder: Path) -> Path:
    """Of the tracking server that the environment names."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        return Path(download_artifacts(address, dst_path=str(folder)))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise Refused(f"MLflow has no {address}: {error.message}") from error
        raise ConnectionError(f"MLflow does not give {address}: {error.message}") from error


def _from_hub(address: str, folder: Path) -> Path:
    reference, _, file = address.partition(":")
    name, _, revision = reference.partition("@")
    try:
        # A commit needs no question; 40 digits are one.
        is_commit = len(revision) == 40
        model = Pretrained(name, revision) if is_commit else resolve(reference)
        return download(model, file, folder)
    except NoSuchModel as error:
        raise Refused(f"{error}; expected hf:OWNER/NAME[@REVISION][:FILE]") from error
    except HubUnavailable as error:
        raise ConnectionError(str(error)) from error


FETCHERS: dict[str, Callable[[str, Path], Path]] = {
    "s3://": _from_bucket,
    "mlflow:": _from_mlflow,
    "hf:": _from_hub,
}
"""What brings a model here, by the beginning of its address."""
