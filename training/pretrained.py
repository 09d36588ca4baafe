"""Pretrained networks and their tokenizers: of the hub, of a folder, or of a bucket."""

from pathlib import Path
from typing import Any

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
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
    if type(config) not in kind._model_mapping:
        made_for = ", ".join(config.architectures or ["unknown"])
        raise Refused(f"{name} is a {config.model_type} ({made_for}), expected {expected}")


def network_of(kind: Any, name: str, revision: str | None, **more: Any) -> Any:
    """The network. Code and pickles of a stranger are not run."""
    return kind.from_pretrained(
        name, revision=revision, trust_remote_code=False, use_safetensors=True, **more
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
