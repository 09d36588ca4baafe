"""Hyperparameters of a training: any JSON value, kept as it was written."""

import math
import re
from types import NoneType
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

DEEPEST = 16
SUPPLIED = frozenset({"seed", "dataset"})
"""Keys of a trainer's config that the platform fills: a hyperparameter named so would be lost."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/ -]{0,99}")


def _json_value(value: Any) -> Any:
    """The value itself. Raises ValueError where JSON has no such value."""
    _require_json(value, 0)
    return value


def _require_json(value: Any, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError(f"nested more than {DEEPEST} levels deep; write a flatter value")
    for each in _parts_of(value):
        _require_json(each, depth + 1)
    if isinstance(value, str):
        _require_text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"got {value}, expected a finite number")
    elif not isinstance(value, (dict, list, tuple, float, bool, int, NoneType)):
        raise ValueError(
            f"got {value!r:.80}, expected a boolean, a number, text, null, a list or a mapping"
        )


def _parts_of(value: Any) -> list[Any]:
    """Values inside a list or a mapping. Raises ValueError for a key that is no text."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if not isinstance(value, dict):
        return []
    for key in value:
        if not isinstance(key, str):
            raise ValueError(f"got the key {key!r:.80}, expected text")
        _require_text(key)
    return list(value.values())


def _require_text(text: str) -> None:
    # PostgreSQL stores no NUL character, and UTF-8 encodes no surrogates.
    if "\0" in text:
        raise ValueError(f"got {text!r:.80}, expected text without the character NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"got {text!r:.80}, expected Unicode text without surrogates") from None


Hyperparameter = Annotated[Any, BeforeValidator(_json_value)]
"""Any finite JSON value; its type is kept: `1` is no `1.0`, and `"1e5"` is text."""


def _checked_name(name: str) -> str:
    if name in SUPPLIED:
        more = "; declare the model's `seed`" if name == "seed" else ""
        raise ValueError(
            f"{name!r} is a key of the trainer's config that the platform fills, so the value "
            f"would be lost; choose another name{more}"
        )
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"got {name!r:.80}, expected letters, digits and _-.:/ or spaces, at most 100: MLflow "
            "keeps no other names"
        )
    return name


HyperparameterName = Annotated[str, AfterValidator(_checked_name)]
"""A name that MLflow keeps and the platform does not fill itself."""
