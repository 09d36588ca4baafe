"""What is wrong with a declaration, in words its author can act on: pydantic's errors, told with
the nearest valid key."""

from collections.abc import Iterator
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from projects.nearest import hint
from projects.schema import UnusableReference
from projects.yaml_lines import Location

MISSING = "missing, but required"


class Mistake(NamedTuple):
    """One thing wrong in a declaration."""

    location: Location
    message: str


def mistakes_in(error: ValidationError, model: type[BaseModel]) -> Iterator[Mistake]:
    """Everything the validation of the model found."""
    for details in error.errors():
        yield _mistake(details, model)


def _mistake(details: ErrorDetails, model: type[BaseModel]) -> Mistake:
    location = tuple(part for part in details["loc"] if part != "[key]")
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, UnusableReference):
        return Mistake(tuple(cause.path.split(".")), str(cause))
    if details["type"] == "extra_forbidden":
        valid = _valid_keys(model, location[:-1])
        near = hint(str(location[-1]), valid) if valid else ""
        return Mistake(location, f"unknown key{near}")
    if details["type"] == "missing":
        return Mistake(location, MISSING)
    if cause is not None:
        return Mistake(location, str(cause))
    return Mistake(location, f"got {_short(details['input'])}, expected: {_expected(details)}")


def _expected(details: ErrorDetails) -> str:
    return details["msg"].removeprefix("Input should be ").removeprefix("Value error, ")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _valid_keys(model: type[BaseModel], location: Location) -> list[str]:
    """Keys that are legal at the location, following fields, mappings and lists."""
    kind: Any = model
    for part in location:
        kind = _step_into(kind, part)
        if kind is None:
            return []
    return list(kind.model_fields) if _is_model(kind) else []


def _step_into(kind: Any, part: str | int) -> Any:
    if _is_model(kind):
        field = kind.model_fields.get(part)
        return _without_none(field.annotation) if field else None
    return next((a for a in reversed(get_args(kind)) if _is_model(a)), None)


def _without_none(kind: Any) -> Any:
    if get_origin(kind) is UnionType:
        return next((a for a in get_args(kind) if _is_model(a)), kind)
    return kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
