"""The adapter to the Hugging Face hub: which commit a model's name means now.

timeout: `TIMEOUT_S` a call.
retry: none; the caller gets an error that says when to try again.
cancel, duplicate, partial write: nothing is written.
"""

from typing import NamedTuple

TIMEOUT_S = 10.0


class HubUnavailable(Exception):
    """The hub does not answer, or its library is not installed."""


class NoSuchModel(Exception):
    """The hub has no such model, or does not show it."""


class Pretrained(NamedTuple):
    """A model of the hub at one commit."""

    repository: str
    revision: str
    """Commit, in hexadecimal: a name alone would float."""


def resolve(reference: str) -> Pretrained:
    """The model at the commit that `name` or `name@revision` means now.

    Raises NoSuchModel or HubUnavailable.
    """
    name, _, revision = reference.partition("@")
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
    except ImportError as error:
        raise HubUnavailable("models of the hub need the extra `hub`: orrery[hub]") from error
    try:
        info = HfApi().model_info(name, revision=revision or None, timeout=TIMEOUT_S)
    except HFValidationError as error:
        raise NoSuchModel(str(error)) from error
    except OfflineModeIsEnabled as error:
        raise HubUnavailable("the hub is switched off here (HF_HUB_OFFLINE)") from error
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in (401, 403, 404):
            raise NoSuchModel(f"the hub does not show {name!r}") from error
        raise HubUnavailable(f"the hub answers with an error: {error}") from error
    except Exception as error:
        # The library lets every error of its HTTP client pass.
        raise HubUnavailable(f"the hub does not answer: {type(error).__name__}") from error
    if not info.sha:
        raise NoSuchModel(f"{name!r} has no commit")
    return Pretrained(info.id, info.sha)
