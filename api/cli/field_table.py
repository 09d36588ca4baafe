"""Fields of declared classes as tables for people."""

import json
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_HOLDING = {list: ("list of {}", 0), tuple: ("list of {}", 0), dict: ("{} by name", 1)}
_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def table(fields: Mapping[str, FieldInfo]) -> list[str]:
    """Lines of Markdown, one for each field."""
    rows = [_row(name, field) for name, field in fields.items()]
    return ["| field | takes | default | meaning |", "|---|---|---|---|", *rows]


def _row(name: str, field: FieldInfo) -> str:
    default = "**needed**" if field.is_required() else f"`{_default(field)}`"
    return f"| `{name}` | {_type(field.annotation)} | {default} | {one_line(field.description)} |"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(value, default=str)


def _type(kind: Any) -> str:
    """The type in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(each) for each in inner if each is not type(None))
    if origin is not None:
        # Of what a list or a mapping holds; of an annotated type the type itself.
        pattern, place = _HOLDING.get(origin, ("{}", 0))
        return pattern.format(_type(inner[place]))
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"`{kind.__name__}`"
    return _WORDS.get(kind, "any JSON value")


def one_line(text: str | None) -> str:
    """A docstring in one line, as a cell may hold it."""
    return " ".join((text or "").replace("|", "\\|").split())
