"""Values files that make the chart give what the overlays give."""

from collections.abc import Iterable
from typing import Any

import yaml

from deploy.chart.compositions import (
    KUBERNETES,
    Objects,
    components_of,
    composed,
    of_overlay,
    overlays,
)
from deploy.chart.expressions import NAMESPACE, image_name, with_expressions
from deploy.chart.templates import switch
from deploy.chart.tree import NotCharted, added, found, path_of, placed
from deploy.chart.values import SETTINGS, Place, Value

_SETTINGS = ("ConfigMap", NAMESPACE, SETTINGS)
_BEGIN = "# Written by `make chart` from deploy/kubernetes/overlays/{}. Do not edit.\n{}"


def overlay_files(values: list[Value]) -> dict[str, str]:
    """Text of the values file of each overlay. Raises NotRendered."""
    return {f"values-{name}.yaml": _file(name, values) for name in overlays()}


def _file(overlay: str, values: list[Value]) -> str:
    source = (KUBERNETES / "overlays" / overlay / "kustomization.yaml").read_text()
    names = components_of(overlay)
    result: dict[str, Any] = {}
    for component in names:
        _set(result, switch(component), True)
    for image in yaml.safe_load(source).get("images", ()):
        for key, given in (("repository", "newName"), ("tag", "newTag"), ("digest", "digest")):
            if given in image:
                _set(result, f"images.{image_name(image['name'])}.{key}", str(image[given]))
    own, base = of_overlay(overlay), composed(names)
    check_is_said(overlay, own, base, values)
    for value in values:
        for place in value.places:
            if (told := _told(value, place, own, base)) is not None:
                _set(result, value.name, told)
    _set_variables(result, values, own, base)
    told = "".join(f"{line}\n" for line in source.splitlines() if line.startswith("# "))
    return _BEGIN.format(overlay, told) + yaml.safe_dump(result, sort_keys=False, width=10**6)


def check_is_said(overlay: str, own: Objects, base: Objects, values: Iterable[Value]) -> None:
    """Raises NotCharted where an overlay changes what no value says."""
    if unlike := own.keys() ^ base.keys():
        raise NotCharted(f"the overlay {overlay} adds or removes {sorted(unlike)} by itself")
    for key in own.keys() - {_SETTINGS}:
        if _unsaid(key, own[key], values) != _unsaid(key, base[key], values):
            raise NotCharted(
                f"the overlay {overlay} changes {key[0]} {key[2]} where no value of the chart"
                " stands; add one to deploy/chart/declared.py"
            )


def _unsaid(key: tuple[str, str, str], thing: dict[str, Any], values: Iterable[Value]) -> Any:
    """The object without what values and the release say."""
    tree = with_expressions(thing, key[0])
    for value in values:
        for place in value.places:
            if place.is_of(key[0], key[2]):
                path = path_of(place.path)
                tree = added(tree, path, value.key, None) if value.key else placed(tree, path, None)
    return tree


def _told(value: Value, place: Place, own: Objects, base: Objects) -> Any:
    """What an overlay has in the place, if that is not what the base and its components have."""
    for key, thing in own.items():
        if place.is_of(key[0], key[2]):
            path = path_of(place.path) + ((value.key,) if value.key else ())
            new, old = (list(found(each, path)) for each in (thing, base[key]))
            if new != old and value.key == "":
                return new[0][len(old[0]) :]
            if new != old:
                return new[0]
    return None


def _set_variables(
    result: dict[str, Any], values: Iterable[Value], own: Objects, base: Objects
) -> None:
    names = {value.variable: value.name for value in values if value.variable}
    new, old = own[_SETTINGS]["data"], base[_SETTINGS]["data"]
    images = {variable for variable in new if variable.endswith("_IMAGE")}
    for variable in sorted(new.keys() - images):
        if new[variable] != old.get(variable) and variable in names:
            _set(result, names[variable], new[variable])
        elif new[variable] != old.get(variable):
            result.setdefault("settings", {})[variable] = new[variable]


def _set(result: dict[str, Any], name: str, told: Any) -> None:
    *parents, key = name.split(".")
    for parent in parents:
        result = result.setdefault(parent, {})
    result[key] = told
