"""Manifests with the parts in them that Helm decides, and paths to those parts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any


class NotCharted(Exception):
    """The manifests hold what the chart cannot say; says what, and what to do."""


@dataclass(frozen=True)
class Text:
    """A string with template expressions in it."""

    template: str


@dataclass(frozen=True)
class Of:
    """What a value of the chart says."""

    value: str
    is_structure: bool = False


@dataclass(frozen=True)
class IfGiven:
    """An entry, or more items of a list, that are there where a value of the chart is not empty."""

    value: str
    is_structure: bool = False


@dataclass(frozen=True)
class OnlyWith:
    """An entry that is there where a component is enabled."""

    component: str
    node: Any


@dataclass(frozen=True)
class Either:
    """One node where a component is enabled, and another where it is not."""

    component: str
    enabled: Any
    disabled: Any


@dataclass(frozen=True)
class Include:
    """What a named template gives."""

    template: str


Path = tuple[str, ...]


def path_of(text: str) -> Path:
    """Steps of a path such as `spec/ports/http/port`: keys, names of items, `*` for every item.

    A `~1` stands for a slash, as in JSON pointers.
    """
    return tuple(step.replace("~1", "/") for step in text.split("/"))


def found(node: Any, path: Path) -> Iterator[Any]:
    """Every node at the path."""
    if isinstance(node, OnlyWith):
        yield from found(node.node, path)
    elif not path:
        yield node
    else:
        for _, inner in _steps(node, path[0]):
            yield from found(inner, path[1:])


def placed(node: Any, path: Path, new: Any) -> Any:
    """The tree with another node at the path; the same where nothing is there."""
    if isinstance(node, OnlyWith):
        return replace(node, node=placed(node.node, path, new))
    if not path:
        return new
    changed = {place: placed(inner, path[1:], new) for place, inner in _steps(node, path[0])}
    if isinstance(node, dict):
        return {**node, **changed}
    if isinstance(node, list):
        return [changed.get(place, inner) for place, inner in enumerate(node)]
    return node


def added(node: Any, path: Path, key: str, new: Any) -> Any:
    """The tree with an entry in the mapping, or an item behind those of the list, at the path."""
    if isinstance(node, OnlyWith):
        return replace(node, node=added(node.node, path, key, new))
    if path:
        for place, inner in _steps(node, path[0]):
            node = _with(node, place, added(inner, path[1:], key, new))
        return node
    return [*node, new] if isinstance(node, list) else {**node, key: new}


def _with(node: Any, place: Any, inner: Any) -> Any:
    copy = node.copy()
    copy[place] = inner
    return copy


def _steps(node: Any, step: str) -> list[tuple[Any, Any]]:
    if isinstance(node, dict):
        return [(step, node[step])] if step in node else []
    if isinstance(node, list):
        return [
            (place, inner)
            for place, inner in enumerate(node)
            if step == "*" or (isinstance(inner, dict) and inner.get("name") == step)
        ]
    return []
