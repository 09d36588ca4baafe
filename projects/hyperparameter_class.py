"""The class in which a trainer declares its hyperparameters: its source is read, and never run.

A dataclass, NamedTuple, TypedDict or pydantic model is read alike: fields, their types, bounds by
`Field(...)`, and whether they have a default. What only running it would tell is not judged.
"""

import ast
import contextlib
import json
import typing
from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

import pydantic
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError

from projects.mistakes import Mistake, mistakes_in


class Written(NamedTuple):
    """A class in some source."""

    code: ast.ClassDef
    find: Callable[[str], "Written | None"]
    """The class of a name, dotted or not, as the code around this one means it."""


PLAIN = frozenset({"BaseModel", "NamedTuple", "TypedDict", "object", "Generic"})
"""Bases that add no fields."""
# Source that is never run may declare classes that inherit in a circle.
DEEPEST = 8
TYPES: dict[str, Any] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "list": list,
    "dict": dict,
    "tuple": tuple,
    "set": set,
    "None": None,
    **{
        name: getattr(typing, name)
        for name in ("Any", "Dict", "List", "Optional", "Tuple", "Union")
    },
    **{
        name: getattr(pydantic, name)
        for name in (
            "FiniteFloat",
            "NegativeFloat",
            "NegativeInt",
            "NonNegativeFloat",
            "NonNegativeInt",
            "NonPositiveFloat",
            "NonPositiveInt",
            "PositiveFloat",
            "PositiveInt",
        )
    },
}


class _Unknown(Exception):
    """The source says it in a way that only running it would tell."""


class _Attribute(NamedTuple):
    kind: Any
    default: Any


def read_class(written: Written) -> type[BaseModel]:
    """A model of the class's fields, which takes no other keys unless the class says so."""
    attributes, is_open = _attributes(written)
    config = ConfigDict(extra="allow" if is_open else "forbid", strict=True)
    fields: dict[str, Any] = {name: tuple(attribute) for name, attribute in attributes.items()}
    try:
        return create_model(written.code.name, __config__=config, **fields)
    except (TypeError, NameError, ValueError, PydanticUserError, SchemaError):
        # Types and bounds that do not fit together are not judged, but unknown names still are.
        names: dict[str, Any] = {n: (Any, a.default) for n, a in attributes.items()}
        return create_model(written.code.name, __config__=config, **names)


def mistakes_of(declared: type[BaseModel], values: Mapping[str, Any]) -> Iterator[Mistake]:
    """What is wrong with the hyperparameters: unknown names with the nearest one, missing ones,
    and values that the trainer does not take."""
    try:
        # As JSON: in strict mode pydantic accepts a list for a tuple or a set only there.
        declared.model_validate_json(json.dumps(values))
    except ValidationError as error:
        yield from mistakes_in(error, declared, values)


def _attributes(written: Written, depth: int = 0) -> tuple[dict[str, Any], bool]:
    """Fields of the class and its bases, and whether it takes more than those."""
    attributes: dict[str, Any] = {}
    is_open = any(keyword.arg == "extra" and _is_open(keyword) for keyword in written.code.keywords)
    for base in written.code.bases:
        outer = base.value if isinstance(base, ast.Subscript) else base
        if _name(outer) in PLAIN:
            continue
        known = written.find(ast.unparse(outer)) if depth < DEEPEST else None
        if known is None:
            is_open = True  # It may have any field.
            continue
        more, more_open = _attributes(known, depth + 1)
        attributes.update(more)
        is_open = is_open or more_open
    for line, after in zip_longest(written.code.body, written.code.body[1:]):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            _add_attribute(attributes, line.target.id, line, _text_of(after))
        elif isinstance(line, ast.Assign) and _name(line.targets[0]) == "model_config":
            keywords = line.value.keywords if isinstance(line.value, ast.Call) else []
            is_open = is_open or any(k.arg == "extra" and _is_open(k) for k in keywords)
    return attributes, is_open


def _is_open(keyword: ast.keyword) -> bool:
    return not (isinstance(keyword.value, ast.Constant) and keyword.value.value == "forbid")


def _text_of(line: ast.stmt | None) -> str | None:
    """The text that follows an attribute and says what it means."""
    value = line.value if isinstance(line, ast.Expr) else None
    is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
    return value.value if is_text else None  # type: ignore[union-attr]


def _add_attribute(
    attributes: dict[str, Any], name: str, line: ast.AnnAssign, text: str | None
) -> None:
    annotation = line.annotation
    outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    if _name(outer) == "ClassVar" or name.startswith("_"):
        return
    try:
        kind = _type(annotation)
    except _Unknown:
        kind = Any
    attributes[name] = _Attribute(kind, _default(line.value, text))


def _default(value: ast.expr | None, text: str | None) -> Any:
    """`...` as the default of a field that must be given, as pydantic has it."""
    if value is None:
        return Field(..., description=text)
    if isinstance(value, ast.Call) and _name(value.func) in ("Field", "field"):
        with contextlib.suppress(_Unknown):
            return _field(value, text)
    return Field(default=_known(value), description=text)


def _known(value: ast.expr) -> Any:
    """The default, or None where only running it would tell: that there is one matters."""
    try:
        return _literal(value)
    except _Unknown:
        return None


def _field(call: ast.Call, text: str | None = None) -> Any:
    named: dict[str, Any] = {"description": text}
    default = _known(call.args[0]) if call.args and not _is_ellipsis(call.args[0]) else ...
    for keyword in call.keywords:
        if keyword.arg in ("default", "default_factory"):
            if not _is_ellipsis(keyword.value):
                default = _known(keyword.value)
        elif keyword.arg is not None:
            named[keyword.arg] = _literal(keyword.value)
    try:
        return Field(default=default, **named)
    except TypeError as error:
        raise _Unknown from error


def _is_ellipsis(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is ...


def _type(node: ast.expr) -> Any:
    """The type that an annotation names. Raises _Unknown."""
    match node:
        case ast.Constant(value=str(text)):
            return _type(_parsed(text))
        case ast.Constant(value=None):
            return None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return typing.Union[_type(left), _type(right)]  # noqa: UP007
        case ast.Subscript(value=outer, slice=inner):
            return _subscripted(outer, inner)
    if _name(node) not in TYPES:
        raise _Unknown
    return TYPES[_name(node)]


def _subscripted(outer: ast.expr, inner: ast.expr) -> Any:
    name = _name(outer)
    first, *rest = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name in ("Required", "NotRequired", "ReadOnly", "Final"):
        return _type(first)
    if name == "Literal":
        return typing.Literal[tuple(_literal(part) for part in (first, *rest))]
    if name == "Annotated":
        bounds = [_field(part) for part in rest if isinstance(part, ast.Call)]
        return typing.Annotated[_type(first), *bounds]
    parts = [TYPES[name] if name in TYPES else _type(outer)]
    parts += [_type(part) if not _is_ellipsis(part) else ... for part in (first, *rest)]
    try:
        return parts[0][tuple(parts[1:]) if rest else parts[1]]
    except TypeError as error:
        raise _Unknown from error


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise _Unknown from error


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError) as error:
        raise _Unknown from error


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
