"""What each component adds to the manifests, found by leaving it out."""

from dataclasses import dataclass
from typing import Any

from deploy.chart.compositions import Objects
from deploy.chart.tree import Either, NotCharted, OnlyWith


@dataclass(frozen=True)
class Charted:
    """An object, the component that brings it (none: the base), and its parts that others bring."""

    kind: str
    namespace: str
    name: str
    component: str | None
    tree: dict[str, Any]


def charted(full: Objects, without: dict[str, Objects]) -> list[Charted]:
    """Objects of all components together, compared with those where one is left out.

    Raises NotCharted where two components bring the same thing.
    """
    results = []
    for key, thing in full.items():
        owners = [name for name, others in without.items() if key not in others]
        if len(owners) > 1:
            raise NotCharted(f"{key} is there only with {' and '.join(owners)}; expected one")
        others = {name: things[key] for name, things in without.items() if key in things}
        tree = _compared(thing, others, f"{thing['kind']} {thing['metadata']['name']}")
        results.append(Charted(*key, owners[0] if owners else None, tree))
    return results


def _compared(node: Any, others: dict[str, Any], where: str) -> Any:
    others = {name: other for name, other in others.items() if other != node}
    if not others:
        return node
    if isinstance(node, dict) and all(isinstance(other, dict) for other in others.values()):
        return _compared_entries(node, others, where)
    if isinstance(node, list) and all(_is_alike(node, other) for other in others.values()):
        return [
            _compared(inner, {name: other[place] for name, other in others.items()}, where)
            for place, inner in enumerate(node)
        ]
    if len(others) > 1:
        raise NotCharted(f"{where} is changed by {' and '.join(others)}; expected one component")
    ((component, disabled),) = others.items()
    return Either(component, node, disabled)


def _compared_entries(node: Any, others: dict[str, Any], where: str) -> dict[str, Any]:
    for component, other in others.items():
        if gone := other.keys() - node.keys():
            raise NotCharted(f"{component} takes {sorted(gone)} out of {where}; expected it to add")
    result = {}
    for key, inner in node.items():
        there = {name: other[key] for name, other in others.items() if key in other}
        entry = _compared(inner, there, f"{where}/{key}")
        for component in others.keys() - there.keys():
            entry = OnlyWith(component, entry)
        result[key] = entry
    return result


def _is_alike(node: list[Any], other: Any) -> bool:
    return isinstance(other, list) and len(other) == len(node)
