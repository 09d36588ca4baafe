"""The kinds of suites and their fields as a page for people, written from their declarations."""

from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from api.cli.field_table import one_line, table
from projects.suite import Suite
from projects.suite_kinds import suite_kinds

HEAD = """# Suites

A simulation names its suite by the path of a file, or holds it (`suite: {kind: ...}`). This page is
written by `orrery suites`, from the classes in `simulations/kinds`; a module there, or an entry
point of the group `orrery.suites`, is one more kind.

"""
SHARED = ("seeds", "confidence")


def markdown() -> str:
    """The page."""
    kinds = suite_kinds()
    shared = {name: Suite.model_fields[name] for name in SHARED}
    lines = ["## Every kind", "", *table(shared)]
    for kind in sorted(kinds):
        lines += _kind(kind, kinds[kind])
    return HEAD + "\n".join(lines) + "\n"


def _kind(kind: str, declared: type[Suite]) -> list[str]:
    fields = {n: f for n, f in declared.model_fields.items() if n not in (*SHARED, "kind")}
    return [
        "",
        f"## `{kind}`",
        "",
        one_line(declared.__doc__),
        "",
        *table(fields),
        *[line for each in _parts(fields) for line in _part(each)],
    ]


def _part(declared: type[BaseModel]) -> list[str]:
    about = f"`{declared.__name__}`: {one_line(declared.__doc__)}"
    return ["", about, "", *table(declared.model_fields)]


def _parts(fields: dict[str, FieldInfo]) -> list[type[BaseModel]]:
    """Classes of fields that have fields themselves."""
    return [
        each
        for field in fields.values()
        for each in (field.annotation, *get_args(field.annotation))
        if isinstance(each, type) and issubclass(each, BaseModel)
    ]
