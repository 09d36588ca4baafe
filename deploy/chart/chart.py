"""The files of the chart that are written from the manifests."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from deploy.chart.compositions import components, composed
from deploy.chart.declared import COMPONENTS, PLATFORM
from deploy.chart.differences import Charted, charted
from deploy.chart.expressions import NAMESPACE, with_expressions
from deploy.chart.overlay_values import overlay_files
from deploy.chart.templates import document, joined, mapping, switch
from deploy.chart.tree import IfGiven, Include, NotCharted, Of, added, found, path_of, placed
from deploy.chart.values import SETTINGS, Value
from deploy.chart.values_files import completed, schema_file, values_file
from resources.settings import CHECKOUT

CHART = CHECKOUT / "deploy" / "helm" / "orrery"
VALUES = (*PLATFORM, *COMPONENTS)
_WRITTEN = "{{{{/* Written by `make chart` from deploy/kubernetes/{}. Do not edit. */}}}}\n"
_SETTINGS = """\
{{{{/* Written by `make chart` from deploy/kubernetes. Do not edit. */}}}}
{{{{- define "orrery.manifests.settings" }}}}
{data}
{{{{- end }}}}
{{{{- define "orrery.settings" }}}}
{{{{- $given := dict }}}}
{given}
{{{{- $written := include "orrery.manifests.settings" . | fromYaml }}}}
{{{{- mergeOverwrite $written $given .Values.settings | toYaml }}}}
{{{{- end }}}}
"""


def files() -> dict[str, str]:
    """Text of each written file of the chart. Raises NotCharted or NotRendered."""
    names = components()
    full = composed(names)
    left_out = {name: composed(other for other in names if other != name) for name in names}
    plain = charted(full, left_out)
    things = [replace(thing, tree=with_expressions(thing.tree, thing.kind)) for thing in plain]
    for value in VALUES:
        things = _with_value(things, value)
    values = completed(VALUES, plain, names)
    bringing = sorted({thing.component or "" for thing in things})
    return {
        **{f"templates/{name or 'base'}.yaml": _template(things, name) for name in bringing},
        "templates/_settings.tpl": _settings(things, names),
        "values.yaml": values_file(values),
        "values.schema.json": schema_file(values),
        **overlay_files(values),
    }


def _with_value(things: list[Charted], value: Value) -> list[Charted]:
    results, places = [], 0
    for thing in things:
        for place in value.places:
            path = path_of(place.path)
            if place.is_of(thing.kind, thing.name) and any(True for _ in found(thing.tree, path)):
                places += 1
                thing = replace(thing, tree=_tree_with(thing.tree, path, value))  # noqa: PLW2901
        if value.variable and _is_settings(thing):
            tree = placed(thing.tree, ("data", value.variable), Of(value.name))
            thing = replace(thing, tree=tree)  # noqa: PLW2901
        results.append(thing)
    if value.places and not places:
        wanted = ", ".join(f"{place.kinds[0]} {place.name}: {place.path}" for place in value.places)
        raise NotCharted(
            f"the value {value.name} stands nowhere: the manifests have no {wanted}; change its"
            " place in deploy/chart/declared.py"
        )
    return results


def _tree_with(tree: Any, path: tuple[str, ...], value: Value) -> Any:
    if value.key is None:
        return placed(tree, path, Of(value.name, value.is_structure))
    return added(tree, path, value.key, IfGiven(value.name, value.is_structure))


def _is_settings(thing: Charted) -> bool:
    return (thing.kind, thing.name) == ("ConfigMap", SETTINGS)


def _template(things: Iterable[Charted], component: str) -> str:
    own = [thing for thing in things if (thing.component or "") == component]
    lines: list[str] = []
    for thing in sorted(own, key=lambda thing: (thing.kind, thing.namespace, thing.name)):
        tree = thing.tree
        if _is_settings(thing):
            tree = {**tree, "data": Include("orrery.settings")}
        lines += document(tree, _conditions(thing))
    if component:
        lines = [f"{{{{- if .Values.{switch(component)} }}}}", *lines, "{{- end }}"]
    source = f"components/{component}" if component else "base"
    return _WRITTEN.format(source) + joined(lines)


def _conditions(thing: Charted) -> list[str]:
    conditions = {
        ("Namespace", NAMESPACE): "namespace.create",
        ("ServiceAccount", "default"): "namespace.defaultAccounts",
    }
    if thing.kind == "WorkloadPriorityClass":
        return ["queues.priorityClasses"]
    return [c for key, c in conditions.items() if key == (thing.kind, thing.name)]


def _settings(things: Iterable[Charted], names: list[str]) -> str:
    (settings,) = [thing for thing in things if _is_settings(thing)]
    data = settings.tree["data"]
    switches = {switch(name).partition(".")[0]: switch(name) for name in names}
    given = []
    for value in VALUES:
        if value.variable and value.variable not in data:
            needed = [value.name, *filter(None, [switches.get(value.section)])]
            condition = " ".join(f".Values.{name}" for name in needed)
            condition = f"and {condition}" if len(needed) > 1 else condition
            entry = f'$_ := set $given "{value.variable}" .Values.{value.name}'
            given.append(f"{{{{- if {condition} }}}}{{{{- {entry} }}}}{{{{- end }}}}")
    return _SETTINGS.format(data=joined(mapping(data)).rstrip("\n"), given="\n".join(given))
