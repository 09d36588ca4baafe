"""What is wrong with a declaration, in words its author can act on: pydantic's errors, told with
the nearest valid key."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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


def mistakes_in(error: ValidationError, model: type[BaseModel], document: Any) -> Iterator[Mistake]:
    """Everything the validation of the document as the model found."""
    for location, details in located(error.errors(), document):
        yield _mistake(location, details, model)


def located(errors: Sequence[Any], document: Any) -> list[tuple[Location, Any]]:
    """Errors of pydantic with their places in the document, one for each place.

    Pydantic's own places also name which alternative of a type was tried; and where a part inside
    one alternative is wrong, it says of the others that they do not fit at all.
    """
    by_place: dict[Location, Any] = {}
    for details in errors:
        place = _place(details, document)
        other = by_place.get(place)
        both = f"{other['msg']}; or {details['msg']}" if other else details["msg"]
        by_place[place] = {**(other or details), "msg": both}
    return [
        (place, details) for place, details in by_place.items() if not _has_part(place, by_place)
    ]


def _has_part(place: Location, places: Iterable[Location]) -> bool:
    return any(len(other) > len(place) and other[: len(place)] == place for other in places)


def _place(details: Any, document: Any) -> Location:
    *outer, last = details["loc"] or ("",)
    place: list[str | int] = []
    value = document
    for part in outer:
        if _holds(value, part):
            place.append(part)
            value = value[part]
    if _holds(value, last) or details["type"] == "missing":
        place.append(last)
    return tuple(place)


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(value, (list, tuple)):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, Mapping) and part in value


def _mistake(location: Location, details: ErrorDetails, model: type[BaseModel]) -> Mistake:
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
    # Reversed, because the last argument of `dict[Name, Model]` is the type of the values.
    return next((a for a in reversed(get_args(kind)) if _is_model(a)), None)


def _without_none(kind: Any) -> Any:
    if get_origin(kind) is UnionType:
        return next((a for a in get_args(kind) if _is_model(a)), kind)
    return kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
