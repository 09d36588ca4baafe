"""Types of the operations' models as the source of the client has them."""

import builtins
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from projects.suite import Suite

PLAIN: Mapping[Any, str] = {
    str: "str",
    int: "int",
    float: "float",
    bool: "bool",
    datetime: "datetime",
    NoneType: "None",
    Any: "Any",
}


@dataclass
class Used:
    """What the types of one module need to be imported or defined."""

    models: set[tuple[type[BaseModel], bool]] = field(default_factory=set)
    """Each with whether it is sent."""
    names: set[str] = field(default_factory=set)
    """Of `typing`, `datetime` and `collections.abc`."""


def is_model(annotation: Any) -> bool:
    """Whether it is a class of pydantic."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def module_of(model: type[BaseModel]) -> str:
    """Name of the client's module that defines the model's type."""
    package, _, module = model.__module__.rpartition(".")
    return module if package == "api.operations" else "declared"


def name_of(model: type[BaseModel], *, is_sent: bool) -> str:
    """Name of the model's type: what is sent is a mapping with known keys, an answer a class."""
    return f"{model.__name__}Fields" if is_sent else model.__name__


def source(annotation: Any, used: Used, *, is_sent: bool) -> str:
    """The type in Python's words. Raises TypeError for one that the client does not know."""
    if annotation in PLAIN:
        return _plain(annotation, used)
    if is_model(annotation):
        return _model(annotation, used, is_sent=is_sent)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return source(inner[0], used, is_sent=is_sent)
    if origin in (Union, UnionType):
        parts = [source(part, used, is_sent=is_sent) for part in inner]
        return " | ".join(dict.fromkeys(parts))
    if origin is Literal:
        used.names.add("Literal")
        return f"Literal[{', '.join(_value(value) for value in inner)}]"
    if origin in (list, dict):
        return _collection(origin, inner, used, is_sent=is_sent)
    raise TypeError(f"the client has no type for {annotation!r}; add one to {__name__}")


def _value(value: Any) -> str:
    """The value as `make check` wants it: text in double quotes, as JSON has it too."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _plain(annotation: Any, used: Used) -> str:
    if PLAIN[annotation] in ("Any", "datetime"):
        used.names.add(PLAIN[annotation])
    return PLAIN[annotation]


def _model(model: type[BaseModel], used: Used, *, is_sent: bool) -> str:
    is_hidden = any(field.alias in vars(builtins) for field in model.model_fields.values())
    if issubclass(model, Suite) or (is_sent and is_hidden):
        # Kinds of suites are open, so the client cannot know their fields; and a field such as
        # `int` would hide the type of that name from those behind it.
        used.names |= {"Mapping", "Any"}
        return "Mapping[str, Any]"
    used.models.add((model, is_sent))
    return name_of(model, is_sent=is_sent)


def _collection(origin: Any, inner: tuple[Any, ...], used: Used, *, is_sent: bool) -> str:
    parts = ", ".join(source(part, used, is_sent=is_sent) for part in inner)
    if not is_sent:
        return f"{origin.__name__}[{parts}]"
    # A method `list` hides the type of the name from the methods behind it.
    name = "Sequence" if origin is list else "Mapping"
    used.names.add(name)
    return f"{name}[{parts}]"


def imports(used: Used) -> list[str]:
    """Lines that import the names."""
    homes = {
        "collections.abc": ("Iterator", "Mapping", "Sequence"),
        "dataclasses": ("dataclass", "field"),
        "datetime": ("datetime",),
        "typing": ("Any", "Literal", "TypedDict"),
    }
    return [
        f"from {home} import {', '.join(sorted(found))}"
        for home, names in homes.items()
        if (found := used.names & set(names))
    ]
