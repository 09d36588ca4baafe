"""The kinds of suites and their fields as a page for people, written from their declarations."""

import json
import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from projects.suite import Suite
from projects.suite_kinds import suite_kinds

HEAD = """# Suites

A simulation names its suite by the path of a file, or holds it (`suite: {kind: ...}`). This page is
written by `orrery suites`, from the classes in `simulations/kinds`; a module there, or an entry
point of the group `orrery.suites`, is one more kind.

"""
SHARED = ("seeds", "confidence")
_HOLDING = {list: ("list of {}", 0), tuple: ("list of {}", 0), dict: ("{} by name", 1)}
_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def markdown() -> str:
    """The page."""
    kinds = suite_kinds()
    shared = [_row(name, Suite.model_fields[name]) for name in SHARED]
    lines = ["## Every kind", "", *_table(shared)]
    for kind in sorted(kinds):
        lines += _kind(kind, kinds[kind])
    return HEAD + "\n".join(lines) + "\n"


def _kind(kind: str, declared: type[Suite]) -> list[str]:
    fields = {n: f for n, f in declared.model_fields.items() if n not in (*SHARED, "kind")}
    return [
        "",
        f"## `{kind}`",
        "",
        _text(declared.__doc__),
        "",
        *_table([_row(name, field) for name, field in fields.items()]),
        *[line for each in _parts(fields) for line in _part(each)],
    ]


def _part(declared: type[BaseModel]) -> list[str]:
    rows = [_row(name, field) for name, field in declared.model_fields.items()]
    return ["", f"`{declared.__name__}`: {_text(declared.__doc__)}", "", *_table(rows)]


def _parts(fields: dict[str, FieldInfo]) -> list[type[BaseModel]]:
    """Classes of fields that have fields themselves."""
    return [
        each
        for field in fields.values()
        for each in (field.annotation, *get_args(field.annotation))
        if isinstance(each, type) and issubclass(each, BaseModel)
    ]


def _table(rows: list[str]) -> list[str]:
    return ["| field | takes | default | meaning |", "|---|---|---|---|", *rows]


def _row(name: str, field: FieldInfo) -> str:
    default = "**needed**" if field.is_required() else f"`{_default(field)}`"
    return f"| `{name}` | {_type(field.annotation)} | {default} | {_text(field.description)} |"


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


def _text(text: str | None) -> str:
    """A docstring in one line, as a cell may hold it."""
    return " ".join((text or "").replace("|", "\\|").split())
