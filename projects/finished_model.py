"""Addresses of finished models, which a declaration names in place of a trainer."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

FINISHED = "training.finished.trainer:train"
"""The trainer that brings a finished model."""
PRETRAINED = "pretrained"
"""Hyperparameter of shipped trainers that names a network to start from."""
NAMED_MODELS = {
    FINISHED: "model",
    "training.hub:train": PRETRAINED,
    "training.language.classifier:train": PRETRAINED,
    "training.language.writer:train": PRETRAINED,
}
"""Hyperparameter that names a model, by the shipped trainer that reads it; those of others are for
their own packages to judge."""
ELSEWHERE = ("s3://", "mlflow:", "hf:")
"""Beginnings of addresses that are no path."""
FORMS = (
    r"s3://[^/\s]+/\S+",
    r"mlflow:(models|runs):/\S+",
    r"hf:[\w.-]+/[\w.-]+(@[\w./-]+)?(:[\w./-]+)?",
)
EXPECTED = (
    "a path, s3://BUCKET/KEY, mlflow:models:/NAME/VERSION, or hf:OWNER/NAME[@REVISION][:FILE]"
)


def _address(text: str) -> str:
    is_elsewhere = re.match(r"[a-z][a-z0-9+.-]*:", text) is not None
    if not text.strip() or (is_elsewhere and not any(re.fullmatch(f, text) for f in FORMS)):
        raise ValueError(f"got {text!r}, expected {EXPECTED}")
    return text


Address = Annotated[str, AfterValidator(_address)]


def local_path(address: str, base: Path) -> Path | None:
    """The file or folder of the address, relative to the base; None where it is elsewhere."""
    return None if address.startswith(ELSEWHERE) else base / address


def pretrained_path(name: str, base: Path) -> Path | None:
    """The folder of a pretrained network, relative to the base; None for a name of the hub and for
    what is elsewhere."""
    is_path = name.startswith((".", "~")) or Path(name).is_absolute()
    return base / Path(name).expanduser() if is_path else None
