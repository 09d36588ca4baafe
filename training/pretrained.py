"""Pretrained networks and their tokenizers: of the hub, of a folder, or of a bucket."""

from pathlib import Path
from typing import Any

from engine.model_hub import gated
from engine.protocol import Refused
from training.finished.places import fetched

FETCHED = ("s3://", "mlflow:")
MEND = "save it beside the model with tokenizer.save_pretrained"


def place_of(name: str) -> str:
    """A name of the hub or a folder as it is; what lies elsewhere is brought into the working
    directory, which is the job's own."""
    if name.startswith(FETCHED):
        return str(fetched(name, Path("pretrained").absolute()))
    return name


def require_kind(kind: Any, name: str, revision: str | None, expected: str) -> None:
    """Return when the Auto class of transformers has a network for the model. Raises Refused with
    what was expected."""
    config = _config_of(name, revision)
    if type(config) not in kind._model_mapping:
        made_for = ", ".join(config.architectures or ["unknown"])
        raise Refused(f"{name} is a {config.model_type} ({made_for}), expected {expected}")


def dtype_of(name: str, revision: str | None) -> Any:
    """Type of the numbers of the model's weights, of `torch`."""
    import torch

    return _config_of(name, revision).dtype or torch.float32


def _config_of(name: str, revision: str | None) -> Any:
    """The model's configuration. Raises Refused where the hub shows it to nobody without a token,
    and OSError where it cannot be read."""
    from huggingface_hub.errors import GatedRepoError
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
    except OSError as error:
        if not isinstance(error.__cause__, GatedRepoError):
            raise
        raise Refused(gated(name)) from error


def network_of(kind: Any, name: str, revision: str | None, **more: Any) -> Any:
    """The network. Code and pickles of a stranger are not run."""
    return kind.from_pretrained(
        name, revision=revision, trust_remote_code=False, use_safetensors=True, **more
    )


def require_fit(tokenizer: Any, network: Any, name: str) -> None:
    """Return when the network knows every token of the tokenizer. Raises Refused."""
    largest = max(tokenizer.get_vocab().values())
    known = network.get_input_embeddings().weight.shape[0]
    if largest >= known:
        raise Refused(
            f"the tokenizer of {name} has tokens up to number {largest}, and its network knows "
            f"{known}, numbered from 0; expected a tokenizer that was made for this network: save "
            "the right one beside it, or enlarge the network by resize_token_embeddings"
        )


def tokenizer_of(name: str, revision: str | None) -> Any:
    """The tokenizer. Raises Refused where there is none."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
    # What is missing is told by errors of several libraries.
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{name} has no tokenizer that can be read: {error}; {MEND}") from error
    # Without its files transformers makes one that knows no word.
    if tokenizer.get_vocab().keys() <= set(tokenizer.all_special_tokens):
        raise Refused(f"{name} has no tokenizer, or one that knows no word; {MEND}")
    return tokenizer
