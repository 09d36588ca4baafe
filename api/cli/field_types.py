"""What the type of a field is like: how the command line reads and shows it."""

from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel


def holds_models(annotation: Any) -> bool:
    """Whether an object with fields is somewhere in it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(holds_models(a) for a in get_args(annotation))


def is_mapping(annotation: Any) -> bool:
    """Whether it is, or may be, a mapping."""
    if get_origin(annotation) is dict:
        return True
    return any(is_mapping(a) for a in get_args(annotation))


def is_structured(annotation: Any) -> bool:
    """Whether it is written as YAML: lists, mappings and objects."""
    if get_origin(annotation) in (Union, UnionType):
        return any(is_structured(a) for a in get_args(annotation))
    return is_mapping(annotation) or holds_models(annotation) or get_origin(annotation) is list
