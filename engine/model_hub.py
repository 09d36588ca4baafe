"""The adapter to the Hugging Face hub: which commit a model's name means now, and its files.

timeout: `TIMEOUT_S` a call; a download that brings no byte for the library's own time.
retry: none; the caller gets an error that says when to try again.
cancel: a download that is interrupted leaves files that the next one completes.
duplicate: a file that is there in the same revision is not brought again.
partial write: the library names a file when its last byte is there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

TIMEOUT_S = 10.0
UNSAFE: tuple[str, ...] = (
    "*.bin",
    "*.pt",
    "*.pth",
    "*.pkl",
    "*.pickle",
    "*.joblib",
    "*.ckpt",
    "*.h5",
    "*.py",
)
"""Files that run code when they are read, which nobody has use for here."""


class HubUnavailable(Exception):
    """The hub does not answer, or its library is not installed."""


class NoSuchModel(Exception):
    """The hub has no such model, or does not show it."""


class Pretrained(NamedTuple):
    """A model of the hub at one commit."""

    repository: str
    revision: str
    """Commit, in hexadecimal: a name alone would float."""
    task: str | None = None
    """What it is for, in the hub's words, such as `text-generation`; None where it says nothing."""


def resolve(reference: str) -> Pretrained:
    """The model at the commit that `name` or `name@revision` means now.

    Raises NoSuchModel or HubUnavailable.
    """
    name, _, revision = reference.partition("@")
    with _translated_errors(name):
        from huggingface_hub import HfApi

        info = HfApi().model_info(name, revision=revision or None, timeout=TIMEOUT_S)
    if not info.sha:
        raise NoSuchModel(f"{name!r} has no commit")
    return Pretrained(info.id, info.sha, info.pipeline_tag)


def download(model: Pretrained, file: str, folder: Path) -> Path:
    """The file of the model, or without one a folder with all that runs no code, now below the
    folder. Raises NoSuchModel or HubUnavailable."""
    with _translated_errors(model.repository):
        from huggingface_hub import hf_hub_download, snapshot_download

        commit, name = model.revision, model.repository
        if file:
            return Path(hf_hub_download(name, file, revision=commit, local_dir=folder))
        unsafe = list(UNSAFE)
        return Path(
            snapshot_download(name, revision=commit, local_dir=folder, ignore_patterns=unsafe)
        )


def gated(name: str) -> str:
    """What is to be done about a model that the hub shows to nobody unknown."""
    return (
        f"the hub shows {name} only to those who have accepted its terms; expected a token of one "
        f"of them: accept them at https://huggingface.co/{name}, and set HF_TOKEN where the "
        "platform and its trainings are started"
    )


@contextmanager
def _translated_errors(name: str) -> Iterator[None]:
    try:
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            HFValidationError,
            OfflineModeIsEnabled,
        )
    except ImportError as error:
        raise HubUnavailable("models of the hub need the extra `hub`: orrery[hub]") from error
    try:
        yield
    except HFValidationError as error:
        raise NoSuchModel(str(error)) from error
    except OfflineModeIsEnabled as error:
        raise HubUnavailable("the hub is switched off here (HF_HUB_OFFLINE)") from error
    except GatedRepoError as error:
        raise NoSuchModel(gated(name)) from error
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in (401, 403, 404):
            raise NoSuchModel(f"the hub does not show {name!r}") from error
        raise HubUnavailable(f"the hub answers with an error: {error}") from error
    except Exception as error:
        # The library lets every error of its HTTP client pass.
        raise HubUnavailable(f"the hub does not answer: {type(error).__name__}") from error
